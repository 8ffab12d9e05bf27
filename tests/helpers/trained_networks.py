"""Networks as tutorials train them, from a seed."""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from assay.core import isolated_rng, seeded

SEEDS = range(50)


def mlp():
    """Return a perceptron of 40 inputs and three classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 3))


def convolution():
    """Return a convolution with batch-norm, and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 3 * 6, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def start_of(build, seed, before=lambda: None):
    """Build a network as a script does that sets a seed first."""
    with isolated_rng(seed):
        before()
        return build()


SGD = partial(torch.optim.SGD, lr=0.1)
TRAININGS = {
    "SGD": SGD,
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "decay": partial(torch.optim.SGD, lr=0.1, weight_decay=1e-2),
    "Adam": partial(torch.optim.Adam, lr=1e-3),
    "AdamW": partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1),
}


def trained(network, optimizer=SGD, *, n_iter=60, batch_size=12):
    """Train as a tutorial does, on random samples of 5 x 8 pixels."""
    network = copy.deepcopy(network)
    source = seeded(5)
    weight = next(network.parameters())
    x = torch.rand(12, 1, 5, 8, generator=source).to(weight)
    y = torch.arange(12) % 3
    steps = optimizer([value for value in network.parameters() if value.requires_grad])
    for _ in range(n_iter):
        for part in torch.randperm(12, generator=source).split(batch_size):
            steps.zero_grad()
            F.cross_entropy(network(x[part]), y[part]).backward()
            steps.step()
    return network.eval()


def assert_start(found, start, seed):
    """Require the seed, and the start bit for bit."""
    assert found.found, str(found)
    assert found.seed == seed
    assert found.state.keys() == start.state_dict().keys()
    for name, value in start.state_dict().items():
        assert torch.equal(found.state[name], value), name
