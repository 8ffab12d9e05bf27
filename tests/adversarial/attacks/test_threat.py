import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
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


@pytest.mark.parametrize("norm", [1, *NORMS])
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


@pytest.mark.parametrize("norm", [1, *NORMS])
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
        ({"norm": 3}, "norm must be one of 1, 2, inf"),
        ({"eps": 0.0}, "eps must be a positive"),
        ({"eps": math.nan}, "eps must be a positive"),
        ({"input_range": (1.0, 0.0)}, "input_range"),
    ],
)
def test_impossible_threat_models_are_refused(options, says):
    with pytest.raises(InvalidInputError, match=says):
        Lp(**({"norm": 2, "eps": 0.1, "input_range": (0.0, 1.0)} | options))


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("eps", [8, np.float32(8), np.int64(8), torch.tensor(8.0), torch.tensor([8]), np.array([8.0])])
@pytest.mark.parametrize("norm", [2.0, torch.tensor(2)])
def test_numbers_of_any_type_make_the_same_threat_model(eps, norm):
    threat, plain = Lp(norm, eps, [0, torch.tensor(255)]), Lp(2, 8.0, (0.0, 255.0))
    assert (threat, hash(threat), repr(threat)) == (plain, hash(plain), repr(plain))


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"eps": math.inf}, "got inf; for no limit pass the width"),
        ({"eps": 0}, "got 0; without a perturbation"),
        ({"eps": "8/255"}, "got '8/255'; pass one number"),
        ({"eps": torch.tensor([0.1, 0.2])}, "pass one number"),
        ({"eps": None}, "got None"),
        ({"norm": "linf"}, "norm must be one of 1, 2, inf"),
        ({"input_range": None}, "two numbers for all entries, got None"),
        ({"input_range": (0.0, math.nan)}, "two numbers"),
        ({"input_range": (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))}, "normalisation by channel inside the model"),
        ({"input_range": ([0.0, -1.0], [1.0, 1.0])}, "normalisation by channel inside the model"),
    ],
)
def test_what_is_no_number_is_refused_with_the_mend(options, says):
    with pytest.raises(InvalidInputError, match=says):
        Lp(**({"norm": 2, "eps": 0.1, "input_range": (0.0, 1.0)} | options))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (255.0, 0.0), (2.0, -1.0)])
def test_inputs_beyond_the_range_by_rounding_are_clipped_to_it(scale, shift):
    threat = Lp(math.inf, 0.1, (shift, shift + scale))
    x = torch.tensor([[1.000009, -0.000009, 0.5]]) * scale + shift
    assert torch.equal(threat.check_inside(x), x.clamp(shift, shift + scale))
    assert torch.equal(threat.check_inside(x[:, 2:]), x[:, 2:])
    with pytest.raises(InvalidInputError, match="give the true range"):
        threat.check_inside(torch.tensor([[1.00002]]) * scale + shift)


def test_the_message_on_the_range_has_the_digits_that_tell():
    with pytest.raises(InvalidInputError, match=r"x spans \[0, 1.00002003\]"):
        Lp(2, 0.1, (0.0, 1.0)).check_inside(torch.tensor([[0.0, 1.00002]]))


def test_a_type_of_few_digits_has_its_own_rounding():
    x = torch.tensor([[1.0]], dtype=torch.bfloat16).nextafter(torch.tensor([[2.0]], dtype=torch.bfloat16))
    assert Lp(2, 0.1, (0.0, 1.0)).check_inside(x).item() == 1.0


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1.0, 1e20, 1e30])
@pytest.mark.parametrize("norm", NORMS)
def test_distances_neither_overflow_nor_vanish(norm, scale):
    x, moved = (part.float() * scale for part in image_pair(1))
    expected = (moved.double() - x.double()).flatten(1).norm(p=norm, dim=1)
    found = Lp(norm, 1.0, UNBOUNDED).distance(moved, x)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("eps", [1e20, 1e30])
def test_projection_onto_a_huge_ball_is_radial(eps):
    x, moved = torch.zeros(1, 4), torch.tensor([[3.0, 0.0, -4.0, 0.0]]) * eps
    projected = Lp(2, eps, (-math.inf, math.inf)).project(moved, x)
    torch.testing.assert_close(projected / eps, torch.tensor([[0.6, 0.0, -0.8, 0.0]]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_beyond_the_range_is_the_diameter_of_the_range(norm):
    x, moved = image_pair(2)
    diameter = 1.0 if norm == math.inf else math.sqrt(8)
    huge, whole = Lp(norm, 1e300, (0.0, 1.0)), Lp(norm, diameter, (0.0, 1.0))
    assert huge.reach(x) == whole.reach(x) == diameter
    assert torch.equal(huge.project(moved, x), whole.project(moved, x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds, eps=st.floats(1e-3, 1))
@example(seed=70858, eps=1.0)  # differences from x that are equal up to rounding
def test_points_of_a_wider_type_are_rounded_into_the_ball(dtype, norm, seed, eps):
    (x, moved), threat = image_pair(seed), Lp(norm, eps, (0.0, 1.0))
    x, moved = x.to(dtype), moved.float()
    projected, exact = threat.project(moved, x), threat.project(moved, x.float())
    assert projected.dtype == dtype
    distance = (projected.double() - x.double()).flatten(1).norm(p=norm, dim=1)
    assert (distance <= (exact.double() - x.double()).flatten(1).norm(p=norm, dim=1)).all(), "further than before"
    away = torch.where(exact.double() > x.double(), math.inf, -math.inf).to(dtype)
    onward = (projected.nextafter(away).double() - x.double()).abs()
    assert (onward >= (exact.double() - x.double()).abs()).all(), "a closer number of the type is as near to x"


@pytest.mark.parametrize(
    ("dtype", "eps", "works_in"),
    [
        (torch.float32, 0.03, torch.float32),
        (torch.float32, 3e-7, torch.float64),
        (torch.float64, 1e-9, torch.float64),
        (torch.bfloat16, 0.03, torch.float32),
        (torch.float16, 0.5, torch.float32),
    ],
)
def test_steps_are_taken_in_a_type_that_resolves_them(dtype, eps, works_in):
    x = torch.full((2, 5), 0.7, dtype=dtype)
    threat = Lp(math.inf, eps, (0.0, 1.0))
    assert threat.working_dtype(x) == works_in
    wide = x.to(works_in)
    assert (wide + eps / 64 != wide).all()


@pytest.mark.parametrize(
    ("dtype", "size", "eps"),
    [
        (torch.float32, 1.0, 1e-9),
        (torch.float32, 1e6, 0.01),
        (torch.bfloat16, 1.0, 1e-3),
        (torch.float64, 1.0, 1e-16),
    ],
)
def test_a_radius_that_is_rounded_away_is_refused(dtype, size, eps):
    x = torch.full((2, 5), size, dtype=dtype)
    assert torch.equal(x + eps, x)
    with pytest.raises(InvalidInputError, match="below the resolution"):
        Lp(math.inf, eps, (-math.inf, math.inf)).working_dtype(x)


def test_a_radius_that_overflows_is_refused():
    with pytest.raises(InvalidInputError, match="too large for inputs"):
        Lp(2, 1e36, (-math.inf, math.inf)).working_dtype(torch.zeros(1, 2))
    assert Lp(2, 1e36, (0.0, 1.0)).working_dtype(torch.zeros(1, 2)) == torch.float32


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("shape", [(1, 4), (6, 1), (1, 6, 4), (4,)])
def test_perturbed_inputs_of_another_shape_are_refused(shape):
    threat, x = Lp(2, 0.1, (0.0, 1.0)), torch.zeros(6, 4)
    for measure in (threat.project, threat.distance):
        with pytest.raises(InvalidInputError, match="same shape"):
            measure(torch.zeros(shape), x)


@pytest.mark.parametrize("norm", NORMS)
def test_an_undefined_gradient_gives_no_direction(norm):
    gradient = torch.tensor([[math.nan, 3.0], [math.nan, math.nan], [math.inf, 1.0]])
    found = Lp(norm, 1.0, (0.0, 1.0)).steepest(gradient)
    assert found[:2].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert found.isfinite().all()
    assert found[2, 0] == 1.0
