"""What every attack must keep to, beside the checks of all callables that are given a network."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from assay.adversarial import Lp, run_attack
from assay.core import predict, seeded
from helpers.rows import rows_of
from helpers.rows.base import Attack, title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.subjects import subject

ROWS = rows_of(Attack)
ADVERSARIAL = [row for row in ROWS if row.call is None]
every_row = pytest.mark.parametrize("row", ROWS, ids=title)
untargeted = pytest.mark.parametrize("row", [row for row in ADVERSARIAL if not row.targeted], ids=title)
adversarial = pytest.mark.parametrize("row", ADVERSARIAL, ids=title)
targeted = pytest.mark.parametrize("row", [row for row in ADVERSARIAL if row.targeted], ids=title)


def threats(row, *radii):
    """Return the threat models of a row's norms."""
    return [Lp(norm, eps, row.input_range) for norm in row.norms for eps in radii]


def linear_problem():
    """Two classes, samples with their labels, and what the margin of each changes by a step of unit length."""
    draw = seeded(2)
    layer = nn.Linear(4, 2).double()
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    x = torch.randn(9, 4, generator=draw, dtype=torch.float64)
    logits = predict(layer, x)
    steepness = layer.weight.detach().diff(dim=0).squeeze(0)
    return layer, x, logits.argmax(1), logits.diff(dim=1).abs().squeeze(1), steepness


def distances(gap, steepness, norm):
    """Return how far the decision boundary of a linear network is from each sample."""
    return gap / steepness.norm(p=1 if norm == math.inf else 2)


@every_row
def test_stays_in_the_ball_and_in_the_range(row):
    model, x, y = subject(row)
    x[0], x[1] = 0.0, 1.0
    for threat in threats(row, 0.1, 5.0):
        x_adv = row.perturb(threat, model, x, y)
        assert x_adv.shape == x.shape
        assert float(threat.distance(x_adv, x).max()) <= threat.eps * (1 + 1e-9), "outside the ball"
        low, high = threat.input_range
        assert ((x_adv >= low) & (x_adv <= high)).all(), "outside the range"


@untargeted
def test_success_is_measured_again(row):
    check_measured(row, run_attack)


def check_measured(row, measure):
    """Compare what a run reports with the network's own decisions and with hand-made counts."""
    model, x, y = subject(row)
    y = y.where(torch.arange(7) > 1, predict(model, x).argmax(1))  # some are right, some are wrong
    for threat in threats(row, 0.3):
        result = measure(model, x, y, attack=row.attack(threat))
        assert torch.equal(result.success, predict(model, result.x_adv).argmax(1) != y), "success"
        assert torch.equal(result.distance, threat.distance(result.x_adv, x)), "distance"
        wrong = predict(model, x).argmax(1) != y
        assert torch.equal(result.x_adv[wrong], x[wrong]), "a sample that was wrong before was changed"
        assert result.n_forward >= len(x), "forward passes"


@adversarial
def test_breaks_a_linear_network_exactly_where_it_can_be_broken(row):
    layer, x, y, gap, steepness = linear_problem()
    aim = 1 - y if row.targeted else y
    for norm in row.norms:
        at_boundary = distances(gap, steepness, norm)
        near, far = (Lp(norm, eps, (-math.inf, math.inf)) for eps in (0.99 * float(at_boundary.min()), 99.0))
        assert torch.equal(predict(layer, row.perturb(near, layer, x, aim)).argmax(1), y), "broken within the margin"
        assert torch.equal(predict(layer, row.perturb(far, layer, x, aim)).argmax(1), 1 - y), "not broken"


@targeted
def test_a_targeted_attack_raises_the_probability_of_its_target(row):
    model, x, _ = subject(row)
    target = predict(model, x).argmin(1)
    for threat in threats(row, 0.05):
        x_adv = row.perturb(threat, model, x, target)
        before, after = (predict(model, points).log_softmax(1).gather(1, target[:, None]) for points in (x, x_adv))
        assert (after > before).all(), "the target is no likelier"


@adversarial
def test_a_sample_is_attacked_alike_alone_and_in_a_batch(row):
    model, x, y = subject(row)
    for threat in threats(row, 0.1):
        together = row.perturb(threat, model, x, y)
        alone = torch.cat([row.perturb(threat, model, x[i : i + 1], y[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(together[:3], alone, rtol=0, atol=1e-9)


@every_row
def test_keeps_no_state_from_one_call_to_the_next(row):
    model, x, y = subject(row)
    for threat in threats(row, 0.1):
        attack = row.attack(threat)
        call = row.call or (lambda attack, *given: attack(*given))
        first = call(attack, model, x, y)
        call(attack, model, x.flip(0), y.flip(0))
        assert torch.equal(call(attack, model, x, y), first), "another answer after another call"


@dataclass(frozen=True)
class OneStep:
    """The well-behaved stand-in: one step down the gap of a network's two highest scores, or towards the target."""

    threat: Lp
    targeted: bool = False

    def __call__(self, model, x, y):
        training = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            point = x.detach().clone().requires_grad_()
            own = nn.functional.cross_entropy(model(point), y, reduction="sum")
            (gradient,) = torch.autograd.grad(own, point)
        finally:
            for module, mode in training:
                module.training = mode
        step = self.threat.eps * self.threat.steepest(gradient)
        return self.threat.project(x - step if self.targeted else x + step, x)


class Broad(OneStep):
    def __call__(self, model, x, y):
        return x + 2 * (super().__call__(model, x, y) - x)


class OutOfRange(OneStep):
    def __call__(self, model, x, y):
        return x + 0.5 * self.threat.eps * torch.ones_like(x) / x.shape[1]


class Idle(OneStep):
    def __call__(self, model, x, y):
        return x.clone()


class Backwards(OneStep):
    def __call__(self, model, x, y):
        return self.threat.project(2 * x - super().__call__(model, x, y), x)


class Mixing(OneStep):
    def __call__(self, model, x, y):
        return self.threat.project(x + 0.01 * x.mean(0), x)


class Remembering(OneStep):
    calls = 0

    def __call__(self, model, x, y):
        type(self).calls += 1
        return self.threat.project(x + 0.01 * type(self).calls, x)


def lying(model, x, y, *, attack):
    return replace(run_attack(model, x, y, attack=attack), success=torch.ones(len(x), dtype=torch.bool))


def test_measuring_notices_a_report_that_lies():
    with pytest.raises(AssertionError, match="success"):
        check_measured(Attack(Idle), lying)


BEHAVED = {True: Attack(OneStep, options={"targeted": True}, targeted=True), False: Attack(OneStep)}
STAND_INS = [
    Misbehaviour(Attack(Broad), test_stays_in_the_ball_and_in_the_range, "ball"),
    Misbehaviour(Attack(OutOfRange), test_stays_in_the_ball_and_in_the_range, "range"),
    Misbehaviour(Attack(Broad), test_breaks_a_linear_network_exactly_where_it_can_be_broken, "within the margin"),
    Misbehaviour(Attack(Idle), test_breaks_a_linear_network_exactly_where_it_can_be_broken, "not broken"),
    Misbehaviour(
        Attack(Backwards, targeted=True, options={"targeted": True}),
        test_a_targeted_attack_raises_the_probability_of_its_target,
        "no likelier",
    ),
    Misbehaviour(Attack(Mixing), test_a_sample_is_attacked_alike_alone_and_in_a_batch),
    Misbehaviour(Attack(Remembering), test_keeps_no_state_from_one_call_to_the_next, "another answer"),
]


@pytest.mark.parametrize("stand_in", STAND_INS, ids=lambda one: title(one.row))
def test_an_attack_that_misbehaves_is_noticed(stand_in):
    stand_in.must_be_noticed()


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("aims", [True, False], ids=["targeted", "untargeted"])
def test_an_attack_that_behaves_passes(check, aims):
    if check is test_success_is_measured_again and aims:
        return  # a run measures untargeted attacks
    if check is test_a_targeted_attack_raises_the_probability_of_its_target and not aims:
        return
    check(BEHAVED[aims])


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == ["test_success_is_measured_again"]  # its own test is above
