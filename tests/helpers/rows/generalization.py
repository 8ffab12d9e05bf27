"""The rows of `assay.generalization`."""

from functools import partial

import torch

from assay.core import cross_entropy
from assay.generalization import (
    QuantizedMLP,
    effective_model_complexity,
    enumerate_functions,
    guess_and_check,
    label_gap,
    minimum_check,
)
from assay.generalization.capacity import TrainingProcedure
from assay.generalization.interpolators import FunctionPrior
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Sampler
from helpers.rows.subjects import copied

NETWORK = QuantizedMLP((2, 2, 1))
TRAIN = TrainingProcedure(cross_entropy, partial(torch.optim.SGD, lr=0.1), n_iter=2, batch_size=None)


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


def _rows_of(found, x):
    rows = [[row.n, row.accuracy, row.loss or 0, row.gradient_norm or 0] for row in found.probes]
    return torch.tensor([*found.n_fitted], dtype=x.dtype), torch.tensor(rows, dtype=x.dtype)


def _complexity(model, x, y, generator):
    options = {"labels": "random", "start": 2, "eigenvalues": False, "generator": generator}
    return _rows_of(effective_model_complexity(lambda source: copied(model), TRAIN, x, y, **options), x)


def _gap(model, x, y, generator):
    options = {"start": 2, "eigenvalues": False, "generator": generator}
    found = label_gap(lambda source: copied(model), TRAIN, x, y, **options)
    return *_rows_of(found.original, x), *_rows_of(found.random, x)


ROWS = (
    Analysis((effective_model_complexity,), run=_complexity, random=True),
    Analysis((label_gap,), run=_gap, random=True),
    Analysis(minimum_check, tolerance=1e-2),
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
