"""The 1-norm: projection onto ball and range, and Auto-PGD with adaptive sparsity."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor, nn

from assay.adversarial import APGD, FGSM, PGD, Lp, TargetedAPGD
from assay.adversarial.attacks.l1_projection import project_l1_box
from assay.core import predict, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_linear, random_mlp


def projected(change: Tensor, low: Tensor, high: Tensor, radius: float) -> Tensor:
    """Solve for the multiplier of one row by SciPy's root finder."""
    room = torch.where(change > 0, high, -low)

    def at(multiplier: float) -> Tensor:
        return torch.minimum((change.abs() - multiplier).clamp_min(0), room)

    if at(0.0).sum() <= radius:
        return change.sign() * at(0.0)
    return change.sign() * at(brentq(lambda m: at(m).sum().item() - radius, 0.0, change.abs().max().item(), xtol=1e-15))


@given(n=st.integers(1, 4), d=st.integers(1, 12), radius=st.floats(0.01, 5.0), seed=st.integers(0, 1000))
def test_the_projection_is_that_of_a_root_finder(n, d, radius, seed):
    source = seeded(seed)
    change = 3 * points(n, d, source)
    low, high = -torch.rand(n, d, generator=source).double(), torch.rand(n, d, generator=source).double()
    low[:, ::3] = 0
    expected = torch.stack([projected(*row, radius) for row in zip(change, low, high, strict=True)])
    torch.testing.assert_close(project_l1_box(change, low, high, radius), expected, rtol=0, atol=1e-10)


def test_no_point_of_ball_and_box_is_nearer_than_the_projection():
    source = seeded(0)
    threat, x = Lp(norm=1, eps=0.6, input_range=(0.0, 1.0)), torch.rand(1, 4, generator=source).double()
    y = x + 2 * points(1, 4, source)
    nearest = threat.project(y, x)
    others = torch.rand(200_000, 4, generator=source).double()
    others = others[(others - x).abs().sum(1) <= 0.6]
    assert len(others) > 100
    assert (others - y).norm(dim=1).min() >= (nearest - y).norm() - 1e-9


@pytest.mark.parametrize("attack", [APGD, PGD, FGSM])
@pytest.mark.parametrize("input_range", [UNBOUNDED, (0.0, 1.0)])
def test_ball_and_range_are_not_left(attack, input_range):
    source = seeded(1)
    model, x = random_mlp([30, 20, 4], source), torch.rand(20, 30, generator=source).double()
    threat = Lp(norm=1, eps=0.5, input_range=input_range)
    x_adv = attack(threat)(model, x, predict(model, x).argmax(1))
    assert (x_adv - x).abs().sum(1).max() <= 0.5 * (1 + 1e-9)
    assert x_adv.min() >= input_range[0]
    assert x_adv.max() <= input_range[1]


@pytest.mark.parametrize(("factor", "breaks"), [(0.999, False), (1.02, True)])
def test_a_linear_model_breaks_beyond_its_distance_only(factor, breaks):
    """The nearest point of another class is one entry away: the largest of the weights' difference."""
    source = seeded(2)
    model, x = random_linear(10, 2, source), points(20, 10, source)
    scores = predict(model, x)
    y, largest = scores.argmax(1), model.weight.detach().diff(dim=0).abs().max()
    distance = scores.diff(dim=1).abs().squeeze(1) / largest
    for row in range(len(x)):
        one, threat = slice(row, row + 1), Lp(1, factor * distance[row].item(), UNBOUNDED)
        for x_adv in (
            APGD(threat, n_iter=60)(model, x[one], y[one]),
            TargetedAPGD(threat, n_iter=60, loss="ce")(model, x[one], 1 - y[one]),
            PGD(threat, n_iter=20)(model, x[one], y[one]),
        ):
            assert (predict(model, x_adv).argmax(1) != y[row]).item() is breaks


def test_starts_of_a_seed_lie_on_the_ball_and_have_few_entries():
    threat, source = Lp(norm=1, eps=2.0, input_range=(0.0, 1.0)), seeded(3)
    model, x = random_mlp([200, 10, 3], source), torch.rand(5, 200, generator=source).double()
    x_adv = APGD(threat, n_iter=1)(model, x, predict(model, x).argmax(1))
    assert ((x_adv - x).abs() > 0).sum(1).max() < 60


def test_a_sparse_network_is_attacked_on_the_entries_that_matter():
    source = seeded(5)
    model = random_linear(50, 2, source)
    model.weight.data[:, 5:] = 0
    x = points(10, 50, source)
    threat = Lp(norm=1, eps=1e-3, input_range=UNBOUNDED)
    change = APGD(threat, n_iter=100)(model, x, predict(model, x).argmax(1)) - x
    assert change[:, 5:].abs().sum() <= 0.05 * change.abs().sum()


def test_two_norms_of_the_same_radius_are_ordered():
    """The ball of the 1-norm lies in that of the 2-norm: what breaks within the one breaks within the other."""
    source = seeded(6)
    model, x = nn.Sequential(*random_mlp([8, 20, 3], source)), points(60, 8, source)
    y = predict(model, x).argmax(1)
    left = [
        (predict(model, APGD(Lp(norm, 0.4, UNBOUNDED), n_iter=40)(model, x, y)).argmax(1) == y).sum()
        for norm in (1, 2, math.inf)
    ]
    assert left[0] > left[1] > left[2]
