"""The rows of `assay.generalization`."""

import torch

from assay.core import cross_entropy
from assay.generalization import (
    M3,
    RM3,
    CoherenceTracker,
    QuantizedMLP,
    enumerate_functions,
    gradient_coherence,
    guess_and_check,
)
from assay.generalization.interpolators import FunctionPrior
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Optimizer, Sampler

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


def _tracked(model, x, y, generator, batch_size=5):
    tracker = CoherenceTracker(x, y, loss=cross_entropy, every=1, batch_size=batch_size)
    return tracker.record(model, 0)


def _still(theta, gradient, lr):
    return theta  # three gradients make a step


ROWS = (
    Analysis(gradient_coherence),
    Analysis(CoherenceTracker, run=_tracked),
    Optimizer(RM3, _still),
    Optimizer(M3, _still),
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
