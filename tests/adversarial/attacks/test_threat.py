import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from assay.adversarial import Lp
from assay.adversarial.attacks.threat import dual_norms
from assay.core import InvalidInputError, seeded
from helpers.adversarial_networks import UNBOUNDED

NORMS = (2, math.inf)
seeds = st.integers(0, 2**31)


def image_pair(seed: int) -> tuple[Tensor, Tensor]:
    source = seeded(seed)
    shape = (3, 2, 4)
    x = torch.rand(shape, generator=source, dtype=torch.float64)
    return x, x + torch.randn(shape, generator=source, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds, eps=st.floats(1e-3, 3))
def test_projection_is_allowed_idempotent_and_leaves_allowed_points(norm, seed, eps):
    threat = Lp(norm=norm, eps=eps, input_range=(0.0, 1.0))
    x, moved = image_pair(seed)
    projected = threat.project(moved, x)
    assert (threat.distance(projected, x) <= eps * (1 + 1e-12)).all()
    assert projected.min() >= 0
    assert projected.max() <= 1
    torch.testing.assert_close(threat.project(projected, x), projected, rtol=0, atol=1e-14)
    halfway = x + (projected - x) / 2
    torch.testing.assert_close(threat.project(halfway, x), halfway, rtol=0, atol=1e-14)


@given(seed=seeds, eps=st.floats(1e-3, 1))
def test_infinity_projection_is_the_nearest_allowed_point(seed, eps):
    x, moved = image_pair(seed)
    threat = Lp(norm=math.inf, eps=eps, input_range=(0.0, 1.0))
    nearest = threat.project(moved, x)
    other = threat.random_start(x, generator=seeded(seed))
    assert ((moved - nearest).flatten(1).norm(dim=1) <= (moved - other).flatten(1).norm(dim=1) + 1e-12).all()


def test_two_norm_projection_without_bounds_is_radial():
    x, moved = image_pair(0)
    threat = Lp(norm=2, eps=0.5, input_range=UNBOUNDED)
    change = (moved - x).flatten(1)
    expected = x.flatten(1) + 0.5 * change / change.norm(dim=1, keepdim=True)
    torch.testing.assert_close(threat.project(moved, x).flatten(1), expected)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_steepest_direction_has_unit_norm_and_gains_the_dual_norm(norm, scale):
    gradient = torch.randn(4, 3, 2, generator=seeded(1)) * scale
    threat = Lp(norm=norm, eps=1.0, input_range=(0.0, 1.0))
    direction = threat.steepest(gradient)
    torch.testing.assert_close(direction.flatten(1).norm(p=norm, dim=1), torch.ones(4))
    gain = (gradient.double() * direction.double()).flatten(1).sum(1)
    torch.testing.assert_close(gain, dual_norms(gradient.double(), norm), rtol=1e-6, atol=0)
    assert (threat.steepest(torch.zeros(2, 3)) == 0).all()


def test_dual_of_the_infinity_norm_by_brute_force_over_the_corners():
    gradient = torch.randn(5, 6, generator=seeded(2), dtype=torch.float64)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6)), dtype=torch.float64)
    torch.testing.assert_close(dual_norms(gradient, math.inf), (gradient @ corners.T).amax(1))


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_fill_the_ball_uniformly(norm):
    x = torch.zeros(4000, 3, dtype=torch.float64)
    threat = Lp(norm=norm, eps=0.5, input_range=(-1.0, 1.0))
    starts = threat.random_start(x, generator=seeded(3))
    assert torch.equal(starts, threat.random_start(x, generator=seeded(3)))
    # In a uniform ball of dimension 3 the cube of the relative distance is uniform: mean 1/2, variance 1/12.
    cubes = (threat.distance(starts, x) / 0.5) ** 3
    assert cubes.max() <= 1 + 1e-12
    assert abs(cubes.mean().item() - 0.5) < 5 / (12 * 4000) ** 0.5
    assert starts.mean(0).abs().max() < 5 * 0.5 / 4000**0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"norm": 1}, "norm must be one of 2, inf"),
        ({"eps": 0.0}, "eps must be a positive"),
        ({"eps": math.nan}, "eps must be a positive"),
        ({"input_range": (1.0, 0.0)}, "input_range"),
    ],
)
def test_impossible_threat_models_are_refused(options, says):
    with pytest.raises(InvalidInputError, match=says):
        Lp(**({"norm": 2, "eps": 0.1, "input_range": (0.0, 1.0)} | options))
