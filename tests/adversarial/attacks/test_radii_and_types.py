"""Radii beyond the range, of a few steps of a type, or rounded away, and inputs in half precision."""

import math

import pytest
import torch

from assay.adversarial import APGD, FGSM, PGD, Lp, robust_accuracy, run_attack
from assay.adversarial.attacks import standard_attacks
from assay.core import InvalidInputError, predict, seeded
from helpers.adversarial_networks import linear, points, random_linear
from helpers.attacks import UNTARGETED, each_attack, problem

UNBOUNDED = (-math.inf, math.inf)


@pytest.mark.parametrize("eps", [1e3, 1e20, 1e30])
@pytest.mark.parametrize("norm", [2, math.inf])
def test_an_unlimited_radius_breaks_everything(norm, eps):
    source = seeded(2)
    model, x = random_linear(8, 3, source).float(), points(20, 8, source).float()
    y, threat = predict(model, x).argmax(1), Lp(norm, eps, UNBOUNDED)
    for attack in (FGSM(threat), PGD(threat, n_iter=5), APGD(threat, n_iter=5)):
        assert run_attack(model, x, y, attack=attack).success.all()
    attacks = standard_attacks(threat, 3, n_iter=5, n_queries=5)
    assert robust_accuracy(model, x, y, threat=threat, attacks=attacks).robust_accuracy.mean == 0


@each_attack
@pytest.mark.parametrize("norm", [2, math.inf])
def test_a_radius_beyond_the_range_is_the_whole_range(build, norm):
    model, x, y = problem()
    x = x.clamp(-1, 1)
    diameter = 2.0 if norm == math.inf else 2 * math.sqrt(6)
    huge, whole = (build(Lp(norm, eps, (-1.0, 1.0)))(model, x, y) for eps in (1e300, diameter))
    torch.testing.assert_close(huge, whole, rtol=0, atol=0)


def edge_problem(dtype, gaps):
    """Pairs of entries whose scores change sign where both entries move by half of a gap; exact in the type."""
    model = linear(torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=dtype))
    x = torch.full((len(gaps), 2), 0.5, dtype=dtype)
    x[:, 0] += torch.tensor(gaps, dtype=dtype)
    return model, x, torch.zeros(len(gaps), dtype=torch.long)


@pytest.mark.parametrize("name", UNTARGETED)
def test_a_radius_of_a_few_steps_of_float32_is_used_up(name):
    step = 2.0**-24  # the spacing of float32 from 0.5 on
    model, x, y = edge_problem(torch.float32, [3 * step, 20 * step])
    threat = Lp(math.inf, 4 * step, (0.0, 1.0))
    result = run_attack(model, x, y, attack=UNTARGETED[name](threat))
    assert result.success.tolist() == [True, False]
    assert result.x_adv.dtype == torch.float32


@pytest.mark.parametrize("name", UNTARGETED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_attacked_in_steps_that_it_cannot_resolve(name, dtype):
    # Forty steps of 2.5/40 of the radius are each below half the spacing of bfloat16 at 0.5.
    model, x, y = edge_problem(dtype, [0.03125, 0.125])
    threat = Lp(math.inf, 8 / 255, (0.0, 1.0))
    attack = PGD(threat) if name == "PGD" else UNTARGETED[name](threat)
    result = run_attack(model, x, y, attack=attack)
    assert result.success.tolist() == [True, False]
    assert result.x_adv.dtype == dtype
    assert ((result.x_adv.double() - x.double()).abs() <= threat.eps).all()
    assert result.distance.dtype == torch.float32


@each_attack
def test_a_radius_that_is_rounded_away_is_refused(build):
    model, x, y = problem(torch.float32)
    with pytest.raises(InvalidInputError, match="below the resolution"):
        build(Lp(math.inf, 1e-9, UNBOUNDED))(model, x + 1, y)


@each_attack
def test_inputs_beyond_the_range_by_rounding_are_attacked_from_its_edge(build):
    model, x, y = problem(torch.float32)
    x = x.clamp(-1, 1)
    x[0, 0] = 1.0000001
    threat = Lp(math.inf, 0.1, (-1.0, 1.0))
    found = build(threat)(model, x, y)
    assert found.max() <= 1
    assert torch.equal(found, build(threat)(model, x.clamp(-1, 1), y))
