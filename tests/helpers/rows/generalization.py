"""The rows of `assay.generalization`."""

import math

import torch

from assay.generalization import (
    IndependentAdamW,
    QuantizedMLP,
    WarmupCosine,
    enumerate_functions,
    guess_and_check,
    lr_sensitivity,
    z_loss,
)
from assay.generalization.interpolators import FunctionPrior
from helpers.rows.standalone import Formula, Optimizer, Sampler, Scheduler

NETWORK = QuantizedMLP((2, 2, 1))


def _fitting_weights(generator, n):
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = guess_and_check(NETWORK, x, torch.tensor([1, 0]), n_networks=n, generator=generator)
    return found.parameters


def _domain(source, n):
    return (torch.randn(n, 2, generator=source, dtype=torch.float64),)


def _teacher_probability(teacher):
    functions = torch.cartesian_prod(*len(teacher) * [torch.tensor([-1, 1])]).reshape(-1, len(teacher))
    prior = FunctionPrior(functions, torch.ones(len(functions), dtype=torch.long))
    return prior.teacher_probability(teacher)


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
    Sampler(guess_and_check, _fitting_weights, (9,)),
    Sampler(QuantizedMLP, lambda generator, n: NETWORK.sample(n, generator), (9,)),
    Formula(
        enumerate_functions,
        _domain,
        run=lambda x: enumerate_functions(QuantizedMLP((2, 1, 1)), x).counts,
        rowwise=False,
        refuses=("axis", "empty"),
    ),
    Formula(
        FunctionPrior,
        lambda source, n: (torch.randint(2, (min(n, 6),), generator=source),),
        run=_teacher_probability,
        rowwise=False,
        refuses=("axis",),
    ),
)
