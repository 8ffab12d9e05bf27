"""Models and data for the tests of stacked training."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from assay.core import seeded
from assay.nets import mlp

MOMENTUM = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def halves():
    return torch.tensor([[True] * 4 + [False] * 4, [False] * 4 + [True] * 4, [True, False] * 4])


class Features(nn.Module):
    """A layer of random features, fixed in a buffer and scaled by a number, then a trained one and a function."""

    def __init__(self, seed: int, after: Callable[[Tensor], Tensor] = lambda z: z, scale: float = 2.0) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(5, 7, generator=seeded(seed)).double())
        self.head = mlp((7, 3), generator=seeded(seed)).double()
        self.after, self.scale = after, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.head(torch.cos(self.scale * x @ self.directions)))


def images(n: int = 8) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 5, generator=seeded(0)).double(), torch.arange(n) % 3
