import pytest
import torch
from torch import Tensor, nn

from assay.core import isolated_rng, seeded


@pytest.fixture
def network() -> nn.Sequential:
    with isolated_rng(0):
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    source = seeded(1)
    x = torch.randn(7, 4, dtype=torch.float64, generator=source)
    return x, torch.randint(3, (7,), generator=source)
