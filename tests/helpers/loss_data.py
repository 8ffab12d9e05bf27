"""A small network, its inputs and targets of every kind that losses take."""

import torch
from torch import nn

from assay.core import isolated_rng, seeded

N, CLASSES, PLACES = 23, 4, 5
WEIGHTS = torch.tensor([1.0, 20.0, 0.0, 3.0], dtype=torch.float64)


def network(outputs: int = CLASSES) -> nn.Module:
    with isolated_rng(0):
        return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, outputs)).double()


def inputs() -> torch.Tensor:
    return torch.randn(N, 6, generator=seeded(1), dtype=torch.float64)


def classes() -> torch.Tensor:
    return torch.arange(N) * CLASSES // N  # sorted, as files often are


def some_ignored(y: torch.Tensor, label: int = -100) -> torch.Tensor:
    return y.masked_fill(torch.rand(y.shape, generator=seeded(2)) < 0.4, label)


def token_network() -> nn.Module:
    return nn.Sequential(*network(CLASSES * PLACES), nn.Unflatten(1, (CLASSES, PLACES)))


def token_labels() -> torch.Tensor:
    return torch.randint(CLASSES, (N, PLACES), generator=seeded(3))


def soft_labels(n_classes: int = CLASSES) -> torch.Tensor:
    return torch.rand(N, n_classes, generator=seeded(4), dtype=torch.float64).softmax(1)


def several(n: int) -> torch.Tensor:
    return torch.randn(N, n, generator=seeded(5), dtype=torch.float64)
