"""The rows of training instability."""

import math

import torch

from assay.generalization import (
    IndependentAdamW,
    WarmupCosine,
    lr_sensitivity,
    z_loss,
)
from helpers.rows.standalone import Formula, Optimizer, Scheduler


def _first_step(theta, gradient, lr):
    return theta - (lr * gradient / (gradient.abs() + 1e-8) + 0.01 * theta)


def _line_and_cosine(t):
    return (t + 1) / 4 if t < 4 else (1 + math.cos(math.pi * min(t - 3, 6) / 6)) / 2


ROWS = (
    Optimizer(IndependentAdamW, _first_step, options={"lr": 0.1, "weight_decay": 0.01}),
    Scheduler(WarmupCosine, _line_and_cosine, options={"n_iter": 10, "n_warmup": 4, "min_lr": 0.0}),
    Formula(
        z_loss, lambda source, n: (torch.randn(n, 5, generator=source).double(),), rowwise=False, refuses=("empty",)
    ),
    Formula(
        lr_sensitivity,
        lambda source, n: (torch.rand(n, generator=source).double(), 1.0),
        rowwise=False,
        refuses=("axis", "empty"),
    ),
)
