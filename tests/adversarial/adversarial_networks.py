"""Small networks with known answers, shared by the tests of this room."""

from itertools import pairwise

import torch
from torch import Tensor, nn

UNBOUNDED = (-1e6, 1e6)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return layer


def random_linear(n_features: int, n_classes: int, generator: torch.Generator) -> nn.Linear:
    weight = torch.randn(n_classes, n_features, generator=generator, dtype=torch.float64)
    return linear(weight, torch.randn(n_classes, generator=generator, dtype=torch.float64))


def random_mlp(widths: list[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(torch.randn(n_out, n_in, generator=generator, dtype=torch.float64) / n_in**0.5), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def points(n: int, n_features: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, n_features, generator=generator, dtype=torch.float64)
