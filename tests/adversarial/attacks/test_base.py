import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from assay.adversarial import Lp, TargetedAPGD, run_attack
from assay.adversarial.attacks.base import dual_norms
from assay.core import InvalidInputError, NumericalError, seeded
from helpers.adversarial_networks import UNBOUNDED, linear, points, random_mlp

NORMS = (2, math.inf)
seeds = st.integers(0, 2**31)


@dataclass(frozen=True)
class Fixed:
    """An attack that says whatever it is told to say."""

    threat: Lp
    answer: Tensor

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.answer.expand_as(x) if self.answer.ndim == 0 else self.answer[: len(x)]


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


def test_an_attack_is_never_believed():
    model = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    y = torch.tensor([0, 0, 0])
    threat = Lp(norm=math.inf, eps=0.2, input_range=(0.0, 1.0))
    claimed = torch.tensor([[-50.0, 50.0], [-50.0, 50.0]], dtype=torch.float64)
    result = run_attack(model, x, y, attack=Fixed(threat, claimed))
    assert result.success.tolist() == [True, False, True]
    torch.testing.assert_close(result.x_adv[0], torch.tensor([0.4, 0.6], dtype=torch.float64))
    assert torch.equal(result.x_adv[1:], x[1:])
    torch.testing.assert_close(result.distance, torch.tensor([0.2, 0.0, 0.0], dtype=torch.float64))
    assert result.robust_accuracy == pytest.approx(1 / 3)
    assert "33.3%" in str(result)
    assert (result.n_forward, result.n_backward) == (5, 0)


def test_batches_do_not_change_the_result():
    source = seeded(4)
    model, x = random_mlp([4, 8, 4], source), points(7, 4, source)
    y = model(x).argmax(1)

    @dataclass(frozen=True)
    class TowardsFixed:
        attack: TargetedAPGD

        @property
        def threat(self) -> Lp:
            return self.attack.threat

        def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return self.attack(model, x, (y + 1) % 4)

    attack = TowardsFixed(TargetedAPGD(Lp(norm=2, eps=0.3, input_range=UNBOUNDED), n_iter=5))
    whole, parts = run_attack(model, x, y, attack=attack), run_attack(model, x, y, attack=attack, batch_size=2)
    torch.testing.assert_close(whole.x_adv, parts.x_adv)
    assert torch.equal(whole.success, parts.success)
    assert whole.n_backward == parts.n_backward


@pytest.mark.parametrize(
    ("answer", "error"), [(torch.tensor(math.nan), NumericalError), (torch.zeros(2, 5), InvalidInputError)]
)
def test_a_broken_attack_is_an_error(answer, error):
    model = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    attack = Fixed(Lp(norm=2, eps=0.2, input_range=(0.0, 1.0)), answer)
    with pytest.raises(error, match="the attack"):
        run_attack(model, x, torch.zeros(2, dtype=torch.long), attack=attack)


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


def bad_inputs():
    model, x, y = linear(torch.eye(2)), torch.full((2, 2), 0.5), torch.tensor([0, 1])
    yield model, x + 2, y, "x spans"
    yield model, x[:0], y[:0], "non-empty batch"
    yield model, x * math.nan, y, "NaN"
    yield model, x, y[:1], "one target for each"
    yield model, x, y + 5, "holds labels from 5 to 6"
    yield linear(torch.ones(1, 2)), x, y, "one output"
    yield linear(torch.eye(2) * math.nan), x, y, "weights of the model are NaN"
    yield linear(torch.eye(3)), x, y, "does not accept a sample"


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(("model", "x", "y", "says"), list(bad_inputs()))
def test_bad_input_is_refused_at_the_door(model, x, y, says):
    attack = Fixed(Lp(norm=2, eps=0.1, input_range=(0.0, 1.0)), torch.tensor(0.0))
    with pytest.raises(InvalidInputError, match=says):
        run_attack(model, x, y, attack=attack)
