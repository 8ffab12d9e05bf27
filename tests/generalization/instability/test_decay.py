import math

import pytest
import torch
from torch.optim import AdamW

from assay.core import InvalidInputError, seeded
from assay.generalization import IndependentAdamW, WarmupCosine, mup_param_groups
from assay.nets import DecoderTransformer

DECAY = 0.02
BETAS = (0.9, 0.95)


def shares(n):
    """Return an uneven schedule."""
    return [0.1 + abs(math.sin(3.0 * t)) for t in range(n)]


def gradients(n, *shape):
    return torch.randn(n, *shape, generator=seeded(1), dtype=torch.float64)


def trained(optimizer, parameter, lr, n=12):
    for share, gradient in zip(shares(n), gradients(n, *parameter.shape), strict=True):
        optimizer.param_groups[0]["lr"] = lr * share
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def start():
    return torch.nn.Parameter(torch.randn(3, 4, generator=seeded(2), dtype=torch.float64))


@pytest.mark.parametrize("lr", [3e-4, 0.1])
def test_the_steps_are_those_of_the_formula(lr):
    parameter = start()
    found = trained(IndependentAdamW([parameter], lr, weight_decay=DECAY), parameter, lr)
    theta, first, second = start().detach(), 0.0, 0.0
    for t, (share, gradient) in enumerate(zip(shares(12), gradients(12, 3, 4), strict=True), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        delta = first / (1 - 0.9**t) / ((second / (1 - 0.95**t)).sqrt() + 1e-8)
        theta = theta - share * (lr * delta + DECAY * theta)
    torch.testing.assert_close(found, theta, rtol=1e-12, atol=1e-12)


def test_it_is_adamw_with_the_decay_over_the_learning_rate():
    lr, mine, theirs = 0.03, start(), start()
    found = trained(IndependentAdamW([mine], lr, weight_decay=DECAY), mine, lr)
    expected = trained(AdamW([theirs], lr, BETAS, weight_decay=DECAY / lr), theirs, lr)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("lr", [3e-4, 0.3])
def test_decay_alone_shrinks_by_the_schedule_whatever_the_learning_rate(lr):
    parameter = start()
    optimizer = IndependentAdamW([parameter], lr, weight_decay=DECAY)
    schedule = WarmupCosine(optimizer, 20, n_warmup=5, min_lr=0.0)
    factor = 1.0
    for _ in range(20):
        factor *= 1 - optimizer.param_groups[0]["lr"] / lr * DECAY
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(parameter.detach(), factor * start().detach(), rtol=1e-9, atol=0)


def test_all_groups_of_muparam_decay_alike():
    wide, narrow = (DecoderTransformer(5, dim, 1, 2, generator=seeded(3)).double() for dim in (16, 4))
    before = {name: value.detach().clone() for name, value in wide.named_parameters()}
    optimizer = IndependentAdamW(mup_param_groups(wide, narrow, lr=0.1), weight_decay=DECAY)
    for parameter in wide.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in wide.named_parameters():
        torch.testing.assert_close(value.detach(), (1 - DECAY) * before[name])


def test_a_group_may_have_its_own_decay_and_needs_a_rate():
    one, two = start(), start()
    optimizer = IndependentAdamW([{"params": [one]}, {"params": [two], "weight_decay": 0.5, "lr": 2.0}], 0.1)
    for parameter in (one, two):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(one.detach(), (1 - 1e-4) * start().detach())
    torch.testing.assert_close(two.detach(), 0.5 * start().detach())
    with pytest.raises(InvalidInputError, match="learning rate 0"):
        IndependentAdamW([start()], 0.0)
