"""What every optimiser must keep to, on a quadratic, which has the gradient A theta - b."""

import copy

import pytest
import torch
from torch.optim import SGD

from helpers.rows import rows_of
from helpers.rows.answers import assert_same
from helpers.rows.base import title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.standalone import Optimizer

ROWS = rows_of(Optimizer)
every_row = pytest.mark.parametrize("row", ROWS, ids=title)
apart = pytest.mark.parametrize("row", [row for row in ROWS if not row.couples], ids=title)

A = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
B = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def start(sign=1.0):
    """Return a parameter at the starting point."""
    return torch.nn.Parameter(sign * torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))


def closure(optimizer, *parameters):
    """Return what evaluates the sum of the quadratics of some parameters."""

    def evaluate():
        optimizer.zero_grad()
        loss = sum(theta @ A @ theta / 2 - B @ theta for theta in parameters)
        loss.backward()
        return loss

    return evaluate


def run(optimizer, *parameters, n_iter=1):
    """Take some steps; return what the last one returned."""
    for _ in range(n_iter):
        loss = optimizer.step(closure(optimizer, *parameters))
    return loss


@every_row
def test_the_first_step_is_the_closed_form(row):
    theta = start()
    run(row.public([theta], **row.options), theta)
    before = start().detach()
    expected = row.step(before, A @ before - B, row.options["lr"])
    torch.testing.assert_close(theta.detach(), expected, rtol=0, atol=1e-12)


@every_row
def test_a_step_returns_the_loss_before_it(row):
    theta = start()
    loss = run(row.public([theta], **row.options), theta)
    before = start().detach()
    assert loss is not None, "no loss"
    assert loss.item() == pytest.approx(float(before @ A @ before / 2 - B @ before), rel=1e-12)


@every_row
def test_the_state_survives_save_and_load(row):
    theta = start()
    optimizer = row.public([theta], **row.options)
    run(optimizer, theta, n_iter=3)
    other = torch.nn.Parameter(theta.detach().clone())
    resumed = row.public([other], **row.options)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, theta, n_iter=3)
    run(resumed, other, n_iter=3)
    assert_same(theta.detach(), other.detach(), "parameters after loading")


@apart
def test_parameter_groups_have_their_own_options(row):
    rates, moved = (0.05, 0.2), (start(), start(-1.0))
    groups = [{"params": [theta], "lr": rate} for theta, rate in zip(moved, rates, strict=True)]
    run(row.public(groups, **row.options), *moved, n_iter=3)
    for theta, rate, sign in zip(moved, rates, (1.0, -1.0), strict=True):
        alone = start(sign)
        run(row.public([alone], **{**row.options, "lr": rate}), alone, n_iter=3)
        torch.testing.assert_close(theta.detach(), alone.detach(), rtol=0, atol=1e-12)


@every_row
def test_no_gradient_is_no_step(row):
    theta, idle = start(), start(-1.0)
    optimizer = row.public([theta, idle], **row.options)
    run(optimizer, theta, n_iter=3)
    assert torch.equal(idle, start(-1.0)), "a parameter without a gradient moved"
    assert not torch.equal(theta, start()), "nothing moved"


@every_row
def test_a_negative_learning_rate_is_refused(row):
    with pytest.raises(ValueError, match="learning rate"):
        row.public([start()], **{**row.options, "lr": -0.1})


def descent(theta, gradient, lr):
    return theta - lr * gradient


class Ascent(SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = -abs(group["lr"])
        return super().step(closure)


class ReturnsNothing(SGD):
    def step(self, closure=None):
        super().step(closure)


class HidesItsState(SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        before = [theta.detach().clone() for theta in self.param_groups[0]["params"]]
        loss = super().step(closure)
        for theta, old in zip(self.param_groups[0]["params"], before, strict=True):
            theta.data = old + (theta.data - old) / self.steps
        return loss


class OneRate(SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = self.param_groups[0]["lr"]
        return super().step(closure)


class Decays(SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        for theta in self.param_groups[0]["params"]:
            theta.data *= 0.9
        return loss


class Unchecked(SGD):
    def __init__(self, params, lr):
        super().__init__(params, abs(lr))


STAND_INS = [
    Misbehaviour(Optimizer(Ascent, descent), test_the_first_step_is_the_closed_form),
    Misbehaviour(Optimizer(ReturnsNothing, descent), test_a_step_returns_the_loss_before_it),
    Misbehaviour(Optimizer(HidesItsState, descent), test_the_state_survives_save_and_load, "after loading"),
    Misbehaviour(Optimizer(OneRate, descent), test_parameter_groups_have_their_own_options),
    Misbehaviour(Optimizer(Decays, descent), test_no_gradient_is_no_step, "without a gradient"),
    Misbehaviour(Optimizer(Unchecked, descent), test_a_negative_learning_rate_is_refused),
]


@pytest.mark.parametrize("misbehaviour", STAND_INS, ids=lambda one: title(one.row))
def test_an_optimizer_that_misbehaves_is_noticed(misbehaviour):
    misbehaviour.must_be_noticed()


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_an_optimizer_that_behaves_passes(check):
    check(Optimizer(SGD, descent, options={"lr": 0.1, "momentum": 0.9}))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
