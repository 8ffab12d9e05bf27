import pytest
import torch
from jaxtyping import config
from torch import nn

from assay.core import seeded
from assay.nets import mlp
from assay.privacy import ShadowEnsemble


@pytest.fixture
def as_users_run_it(monkeypatch):
    """Without the shape checks of the test run, which would refuse some bad input before our own checks see it."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture
def images():
    """Twelve 6 x 6 images of three classes in [0, 1]."""
    return torch.rand(12, 1, 6, 6, generator=seeded(0), dtype=torch.float64), torch.arange(12) % 3


@pytest.fixture
def networks():
    """Seven untrained networks for those images."""
    return tuple(nn.Sequential(nn.Flatten(), *mlp((36, 5, 3), generator=seeded(k))).double() for k in range(7))


@pytest.fixture
def shadows(networks, images):
    """The first four of them, each of which is said to have seen half of the images."""
    seen = torch.arange(12) % 2 == torch.tensor([[0], [0], [1], [1]])
    return ShadowEnsemble(networks[:4], seen, images[0])
