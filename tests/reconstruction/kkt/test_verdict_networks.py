"""Networks of users, frozen, wrapped or with layers that they do not use, and what the verdict says of them."""

import copy

import pytest
import torch
from torch import nn

from assay.core import seeded
from assay.nets import mlp
from assay.reconstruction import KKTReconstructor, oracle_multipliers, stationarity_residual


def half_frozen():
    model = mlp((12, 9, 8, 1), generator=seeded(0))
    model[0].requires_grad_(False)
    return model


QUICK = {"n_candidates": 8, "n_restarts": 2, "n_iter": 5}


def test_frozen_layers_are_left_out_of_the_goal():
    model = half_frozen()
    found = KKTReconstructor(**QUICK).fit(model)
    assert found.verdict_.left_out == ("0.weight", "0.bias")
    assert "0.weight" in str(found.verdict_)
    assert found.basis_ is None  # a frozen layer does not span the data
    assert [weight.requires_grad for weight in model.parameters()] == [False, False, True, True, True, True]
    with pytest.raises(ValueError, match="frozen or shared"):
        KKTReconstructor(**QUICK, subspace=3).fit(model)


def test_a_wholly_frozen_network_counts_as_trained():
    plain = KKTReconstructor(**QUICK).fit(mlp((12, 9, 1), generator=seeded(0)))
    frozen = KKTReconstructor(**QUICK).fit(mlp((12, 9, 1), generator=seeded(0)).requires_grad_(False))
    assert torch.equal(frozen.pool_, plain.pool_)
    assert frozen.verdict_ == plain.verdict_


def test_fewer_weights_than_coordinates_determine_nothing():
    model = mlp((30, 20, 1), generator=seeded(0))
    model[0].requires_grad_(False)
    found = KKTReconstructor(**QUICK | {"n_iter": 300}).fit(model)
    assert found.verdict_.outcome == "nothing found"
    assert "21 weights cannot determine a sample of 30 coordinates" in str(found.verdict_)


def test_stationarity_is_asked_of_the_trainable_weights():
    """Weights that are a sum of gradients where they are trained, behind a layer that is not."""
    model, x, mu = half_frozen().double(), torch.randn(3, 12, generator=seeded(1)).double(), torch.tensor([1.0, -2, 3])
    head = list(model.parameters())[2:]
    pull = torch.autograd.grad(mu.double() @ model(x).squeeze(1), head)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for weight, part in zip(head, pull, strict=True):
            weight.add_(part)
    known = {"objective": "displacement", "init_state": start.state_dict()}
    moved = sum(part.square().sum() for part in pull).sqrt().item()
    result = stationarity_residual(model, x, torch.zeros(3).double(), **known)
    assert list(result.relative) == ["2.weight", "2.bias", "4.weight", "4.bias"]
    assert result.total == pytest.approx(moved)
    assert stationarity_residual(model, x, torch.zeros(3).double(), objective="regression").total == pytest.approx(
        sum(weight.square().sum() for weight in head).sqrt().item()
    )
    factors, rest = oracle_multipliers(start, x, objective="regression")
    assert rest == pytest.approx(
        stationarity_residual(start, x, factors, objective="regression").total_relative, rel=1e-6
    )


def test_a_layer_that_the_network_does_not_use_is_left_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = mlp((12, 9, 3), generator=seeded(0))[::2]
            self.auxiliary = nn.Linear(5, 5)

        def forward(self, x):
            return self.second(self.first(x).relu())

    model = Net()
    found = KKTReconstructor("multiclass", **QUICK).fit(model)
    assert found.verdict_.left_out == ("auxiliary.weight", "auxiliary.bias")
    before = found.residual_.clone()
    nn.init.constant_(model.auxiliary.weight, 100.0)
    torch.testing.assert_close(KKTReconstructor("multiclass", **QUICK).fit(model).residual_, before)


@pytest.mark.parametrize("wrap", ["weight_norm", "DataParallel", "bfloat16", "no_grad", "inference_mode", "tied"])
def test_networks_as_users_have_them(wrap):
    model, plain = mlp((12, 9, 1), generator=seeded(0)), mlp((12, 9, 1), generator=seeded(0))
    if wrap == "weight_norm":
        model[0] = nn.utils.parametrizations.weight_norm(model[0])
    elif wrap == "DataParallel":
        model = nn.DataParallel(model)
    elif wrap == "bfloat16":
        model = model.bfloat16()
        plain = copy.deepcopy(model).float()
    elif wrap == "tied":
        model, plain = (nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 1)),) * 2
        model[2].weight = model[0].weight
    with torch.inference_mode(wrap == "inference_mode"), torch.set_grad_enabled(wrap != "no_grad"):
        found = KKTReconstructor(**QUICK).fit(model)
    expected = KKTReconstructor(**QUICK).fit(plain)
    torch.testing.assert_close(found.pool_, expected.pool_, rtol=1e-3, atol=1e-4)
    assert not found.pool_.requires_grad
    if wrap == "weight_norm":
        assert "parametrisation" in " ".join(found.verdict_.failures)
    if wrap == "tied":
        assert found.basis_ is None  # a shared weight has gradients of two layers
        assert found.verdict_.imbalance is None


def test_a_first_layer_that_runs_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x):
            return self.last(self.first(self.first(x).relu()).relu())

    with pytest.raises(ValueError, match="several times"):
        KKTReconstructor(**QUICK).fit(Twice())
