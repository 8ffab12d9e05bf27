"""Batch-norm keeps its own weights: they satisfy stationarity with fixed statistics, and folded ones do not."""

import copy

import pytest
import torch
from torch import nn

from assay.core import binary_cross_entropy, isolated_rng
from assay.reconstruction import oracle_multipliers, predicted_multipliers, stationarity_residual

DECAY, N = 1e-2, 9


def network():
    """A smooth network with statistics far from 0 and 1, in evaluation mode."""
    with isolated_rng(0), torch.no_grad():
        model = nn.Sequential(nn.Linear(6, 30), nn.BatchNorm1d(30), nn.Softplus(), nn.Linear(30, 1)).double()
        norm = model[1]
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 3.0)
        norm.weight.uniform_(0.5, 2.5)
    return model.eval()


def data():
    return torch.randn(N, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(N) % 2


def objective(model, x, y):
    decay = sum(value.square().sum() for value in model.parameters())
    return binary_cross_entropy(model(x), y) + DECAY / 2 * decay


@pytest.fixture(scope="module")
def fine_tuned():
    """The network after training to a stationary point, its statistics fixed."""
    model, (x, y) = network(), data()
    precise = {"tolerance_grad": 1e-12, "tolerance_change": 1e-16, "line_search_fn": "strong_wolfe"}
    search = torch.optim.LBFGS(model.parameters(), max_iter=2000, history_size=50, **precise)

    def step():
        search.zero_grad()
        loss = objective(model, x, y)
        loss.backward()
        return loss

    for _ in range(5):
        search.step(step)
    return model.requires_grad_(False).requires_grad_()


def folded(model):
    """The chain that computes the same, and the factors of its first rows."""
    first, norm, gate, last = copy.deepcopy(model)
    with torch.no_grad():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        first.weight.mul_(scale[:, None])
        first.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return nn.Sequential(first, gate, last), scale


def test_the_weights_of_a_network_with_fixed_statistics_are_a_sum_of_gradients(fine_tuned):
    x, y = data()
    multipliers = predicted_multipliers(fine_tuned, x, y, loss=binary_cross_entropy, weight_decay=DECAY)
    rest = stationarity_residual(fine_tuned, x, multipliers, objective="regression")
    assert rest.total_relative < 1e-5
    assert oracle_multipliers(fine_tuned, x, y)[1] < 1e-5


def test_folded_weights_compute_the_same_and_are_no_sum_of_gradients(fine_tuned):
    x, y = data()
    chain, scale = folded(fine_tuned)
    torch.testing.assert_close(chain(x), fine_tuned(x), rtol=1e-12, atol=1e-12)
    assert oracle_multipliers(chain, x, y)[1] > 0.5
    multipliers = predicted_multipliers(fine_tuned, x, y, loss=binary_cross_entropy, weight_decay=DECAY)
    (pulled,) = torch.autograd.grad(multipliers @ chain(x).squeeze(1), chain[0].weight)
    # The rows of the layer itself are the pulled ones times the scale.
    rows = chain[0].weight / scale[:, None]
    assert (rows - scale[:, None] * pulled).norm() < 1e-4 * rows.norm()


def test_with_the_statistics_of_batches_the_gradient_is_orthogonal_to_every_row():
    model, (x, y) = network().train(), data()
    (slope,) = torch.autograd.grad(binary_cross_entropy(model(x), y), model[0].weight)
    rows = model[0].weight
    assert ((rows * slope).sum(1).abs() <= 1e-4 * rows.norm(dim=1) * slope.norm(dim=1)).all()
