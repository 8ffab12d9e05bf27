import numpy as np
import pytest
import torch
from torch import nn

from assay.core import named_parameters, seeded
from assay.nets import mlp, small_conv
from assay.reconstruction.kkt import null, set_sharpness, with_surrogate_relu
from assay.reconstruction.kkt.multipliers import start_multipliers
from assay.reconstruction.kkt.null import left_by_random_candidates
from assay.reconstruction.kkt.search import StationarityGap


def contributions(model, x, cotangents, names):
    """Return each candidate's weighted gradient as a row, one backward pass after the other."""
    rows = []
    for sample, cotangent in zip(x, cotangents, strict=True):
        weights = dict(model.named_parameters())
        slopes = torch.autograd.grad((model(sample[None])[0] * cotangent).sum(), [weights[name] for name in names])
        rows.append(torch.cat([slope.flatten() for slope in slopes]))
    return torch.stack(rows)


@pytest.mark.parametrize("objective", ["binary", "vector", "regression"])
@pytest.mark.parametrize("kind", ["chain", "convolution"])
def test_the_null_is_the_least_squares_fit_of_random_candidates(objective, kind, monkeypatch):
    monkeypatch.setattr(null, "N_DRAWS", 1)
    outputs = 1 if objective == "binary" else 3
    net = mlp((5, 7, outputs)) if kind == "chain" else small_conv((1, 5, 5), outputs, channels=(2,), hidden=4)
    shape = (5,) if kind == "chain" else (1, 5, 5)
    model = with_surrogate_relu(net.double())
    set_sharpness(model, 6.0)
    found = torch.randn(2, 4, *shape, generator=seeded(3)).double()
    multipliers = start_multipliers(objective, found, outputs, 0.7, [seeded(4), seeded(5)])
    gap = StationarityGap(model.requires_grad_(False))
    left = left_by_random_candidates(gap, found, [multipliers], generator=seeded(6))

    source, size = seeded(6), sum(weight.numel() for weight in model.parameters())
    torch.randperm(size, generator=source)
    directions = torch.randn(4, found[0, 0].numel(), generator=source).double()
    lengths = found[0].flatten(1).norm(dim=1, keepdim=True)
    drawn = (directions / directions.norm(dim=1, keepdim=True) * lengths).reshape(4, *shape)
    cotangents = multipliers.cotangents(model(drawn).expand(2, 4, outputs))[0]
    rows = contributions(model.requires_grad_(True), drawn, cotangents, list(named_parameters(model)))
    goal = torch.cat([weight.detach().flatten() for weight in model.parameters()]).numpy()
    factors = np.linalg.lstsq(rows.T.numpy(), goal, rcond=None)[0]
    assert left == pytest.approx(np.linalg.norm(rows.T.numpy() @ factors - goal) / np.linalg.norm(goal), rel=1e-6)


def test_enough_random_candidates_leave_nothing():
    with torch.random.fork_rng(devices=[]):  # with some draws both units are off, and nothing is left to explain
        torch.manual_seed(0)
        model = with_surrogate_relu(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double())
    set_sharpness(model, 1.0)
    found = torch.randn(1, 60, 2, generator=seeded(0)).double()
    multipliers = start_multipliers("binary", found, 1, 1.0, [])
    gap = StationarityGap(model.requires_grad_(False))
    assert left_by_random_candidates(gap, found, [multipliers], generator=seeded(1)) < 0.05


def test_a_part_of_the_equations_gives_nearly_the_same(monkeypatch):
    model = with_surrogate_relu(mlp((30, 60, 1)).double())
    found = torch.randn(1, 10, 30, generator=seeded(0)).double()
    multipliers = start_multipliers("binary", found, 1, 1.0, [])
    gap = StationarityGap(model.requires_grad_(False))
    whole = left_by_random_candidates(gap, found, [multipliers], generator=seeded(1))
    monkeypatch.setattr(null, "MOST_EQUATIONS", 900)
    assert left_by_random_candidates(gap, found, [multipliers], generator=seeded(1)) == pytest.approx(whole, abs=0.05)
