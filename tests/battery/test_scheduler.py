"""What every learning-rate schedule must keep to."""

import copy

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, StepLR

from helpers.rows import rows_of
from helpers.rows.base import title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.standalone import Scheduler

every_row = pytest.mark.parametrize("row", rows_of(Scheduler), ids=title)
RATES = (0.1, 0.5)


def built(row):
    """Return an optimiser of two groups, whose gradients are zero, and the schedule of it."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in RATES]
    for parameter in parameters:
        parameter.grad = torch.zeros(1)
    groups = [{"params": [theta], "lr": rate} for theta, rate in zip(parameters, RATES, strict=True)]
    optimizer = SGD(groups, lr=1.0)
    return optimizer, row.public(optimizer, **row.options)


def rates_over(optimizer, schedule, n):
    """Return the learning rates of both groups before each of n steps."""
    seen = []
    for _ in range(n):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


@every_row
def test_the_rates_are_the_closed_form_in_every_group(row):
    expected = [[rate * row.factor(t) for rate in RATES] for t in range(12)]
    for found, wanted in zip(rates_over(*built(row), 12), expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-9)


@every_row
def test_the_state_survives_save_and_load(row):
    optimizer, schedule = built(row)
    rates_over(optimizer, schedule, 5)
    resumed, resumed_schedule = built(row)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed_schedule.load_state_dict(copy.deepcopy(schedule.state_dict()))
    assert rates_over(resumed, resumed_schedule, 5) == rates_over(optimizer, schedule, 5)


@every_row
def test_the_last_rate_is_told(row):
    optimizer, schedule = built(row)
    rates_over(optimizer, schedule, 5)
    assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]


def halved(t):
    return 0.5 ** (t // 3)


class TooEarly(StepLR):
    def __init__(self, optimizer):
        super().__init__(optimizer, step_size=2, gamma=0.5)


class HidesItsState(LRScheduler):
    def __init__(self, optimizer):
        self.calls = 0
        super().__init__(optimizer)

    def get_lr(self):
        self.calls += 1
        return [rate * 0.5 ** ((self.calls - 1) // 3) for rate in self.base_lrs]

    def state_dict(self):
        return {}


class Silent(StepLR):
    def __init__(self, optimizer):
        super().__init__(optimizer, step_size=3, gamma=0.5)

    def get_last_lr(self):
        return list(self.base_lrs)


STAND_INS = [
    Misbehaviour(Scheduler(TooEarly, halved), test_the_rates_are_the_closed_form_in_every_group),
    Misbehaviour(Scheduler(HidesItsState, halved), test_the_state_survives_save_and_load),
    Misbehaviour(Scheduler(Silent, halved), test_the_last_rate_is_told),
]


@pytest.mark.parametrize("misbehaviour", STAND_INS, ids=lambda one: title(one.row))
def test_a_schedule_that_misbehaves_is_noticed(misbehaviour):
    misbehaviour.must_be_noticed()


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_a_schedule_that_behaves_passes(check):
    check(Scheduler(StepLR, halved, options={"step_size": 3, "gamma": 0.5}))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
