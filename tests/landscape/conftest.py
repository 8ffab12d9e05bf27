from functools import partial

import pytest
import torch
from torch import nn

from assay.core import cross_entropy, fit, isolated_rng, seeded


@pytest.fixture
def data():
    """200 samples of two classes in ten dimensions."""
    source = seeded(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 10, generator=source, dtype=torch.float64)
    x[:, 0] += 3.0 * y
    return x, y


@pytest.fixture
def net(data):
    """The network of 132 parameters, partly trained, in training mode as a user may hand it over."""
    with isolated_rng(1):
        model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 2)).double()
    fit(model, *data, loss=cross_entropy, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9), n_iter=40)
    return model.train()


@pytest.fixture
def planted():
    """A 300 x 300 matrix with three outliers on a bulk in [-0.05, 0.05], and its eigenvalues."""
    source = seeded(2)
    basis = torch.linalg.qr(torch.randn(300, 300, generator=source, dtype=torch.float64))[0]
    bulk = 0.1 * torch.rand(297, generator=source, dtype=torch.float64) - 0.05
    eigenvalues = torch.cat([bulk, torch.tensor([2.0, 5.0, 9.0], dtype=torch.float64)]).sort().values
    matrix = basis * eigenvalues @ basis.T
    return (matrix + matrix.T) / 2, eigenvalues
