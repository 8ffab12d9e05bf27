import math

import pytest
import torch

from assay.core import InvalidInputError
from assay.generalization import WarmupCosine


def rates(n, *groups, **options):
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in groups]
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    schedule = WarmupCosine(optimizer, **options)
    seen = []
    for _ in range(n):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def test_the_rates_rise_along_a_line_and_fall_along_a_cosine():
    seen = rates(30, 0.3, 0.01, n_iter=25, n_warmup=5)
    for t, found in enumerate(seen, start=1):
        for rate, lr in zip(found, (0.3, 0.01), strict=True):
            angle = math.pi * min(max(t - 5, 0) / 20, 1)
            falls = 1e-5 + (lr - 1e-5) * math.cos(angle / 2) ** 2
            assert rate == pytest.approx(lr * t / 5 if t < 5 else falls, rel=1e-12)
    assert seen[24] == seen[29] == pytest.approx([1e-5, 1e-5])


def test_without_warm_up_the_first_step_is_on_the_cosine():
    assert rates(1, 1.0, n_iter=2, min_lr=0.0) == [[pytest.approx(0.5)]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_iter": 5, "n_warmup": 5}, "shorter warm-up"),
        ({"n_iter": 5, "min_lr": 0.2}, "lowest rate"),
        ({"n_iter": 0}, "n_iter"),
    ],
)
def test_impossible_schedules_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        rates(1, 0.3, 0.1, **options)
