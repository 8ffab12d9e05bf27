"""A network between functions, and samples, for the tests of the look."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A linear layer between two functions."""

    def __init__(self, after: Callable[[Tensor], Any] = lambda z: z, before: Callable[[Tensor], Any] = lambda x: x):
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.layer(self.before(x)))


def samples(n: int = 5, *shape: int) -> Tensor:
    return torch.rand(n, *(shape or (6,)), generator=torch.Generator().manual_seed(0))


def seeded_network(*arguments: Any) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(*arguments).eval()
