import math

import pytest
import torch

from assay.adversarial import FGSM, PGD, Lp
from assay.adversarial.attacks.starts import start_in_ball
from assay.core import InvalidInputError, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_linear, random_mlp

NORMS = (2, math.inf)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("random_state", [None, 3])
def test_two_linear_classes_end_at_the_closed_form_optimum(norm, random_state):
    source = seeded(0)
    model, x = random_linear(8, 2, source), points(10, 8, source)
    y = torch.arange(10) % 2
    threat = Lp(norm=norm, eps=0.3, input_range=UNBOUNDED)
    x_adv = PGD(threat, n_iter=60, step_size=0.1, random_state=random_state)(model, x, y)
    away = (model.weight[1 - y] - model.weight[y]).detach()
    direction = away.sign() if norm == math.inf else away / away.norm(dim=1, keepdim=True)
    # The random part of a start shrinks by a constant factor a step in the 2-norm, and vanishes at once in the other.
    torch.testing.assert_close(x_adv, x + 0.3 * direction, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_fast_method_is_one_step_of_the_radius_within_the_range(norm):
    source = seeded(1)
    model, x = random_mlp([8, 12, 3], source), torch.rand(10, 8, generator=source, dtype=torch.float64)
    y = torch.arange(10) % 3
    point = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(point), y).backward()
    direction = point.grad.sign() if norm == math.inf else point.grad / point.grad.norm(dim=1, keepdim=True)
    expected = (x + 0.05 * direction).clamp(0, 1)
    assert (expected != x + 0.05 * direction).any(), "the test must see the clamp"
    threat = Lp(norm=norm, eps=0.05, input_range=(0.0, 1.0))
    torch.testing.assert_close(FGSM(threat)(model, x, y), expected)


@pytest.mark.parametrize("random_state", [None, 7])
def test_the_start_and_the_default_step_size_are_by_hand(random_state):
    source = seeded(2)
    model, x, y = random_mlp([8, 12, 3], source), points(6, 8, source), torch.arange(6) % 3
    threat = Lp(norm=2, eps=0.5, input_range=UNBOUNDED)
    start = x if random_state is None else start_in_ball(x, y, threat=threat, random_state=random_state)
    expected = PGD(threat, n_iter=5, step_size=2.5 * 0.5 / 5)(model, x, y, start=start)
    assert torch.equal(PGD(threat, n_iter=5, random_state=random_state)(model, x, y), expected)
    point = start
    for _ in range(5):
        point = point.detach().requires_grad_()
        torch.nn.functional.cross_entropy(model(point), y).backward()
        change = point.detach() + 0.25 * point.grad / point.grad.norm(dim=1, keepdim=True) - x
        point = x + change * (0.5 / change.norm(dim=1, keepdim=True)).clamp(max=1)
    torch.testing.assert_close(expected, point)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("options", [{"step_size": 0.0}, {"step_size": math.nan}, {"n_iter": 0}])
def test_steps_must_have_a_length_and_a_number(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        PGD(Lp(2, 0.1, UNBOUNDED), **options)
