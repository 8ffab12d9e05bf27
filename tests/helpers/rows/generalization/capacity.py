"""The rows of effective model complexity."""

from functools import partial

import torch

from assay.core import cross_entropy
from assay.generalization import (
    effective_model_complexity,
    label_gap,
    minimum_check,
)
from assay.generalization.capacity import TrainingProcedure
from helpers.rows.base import Analysis
from helpers.rows.subjects import copied

TRAIN = TrainingProcedure(cross_entropy, partial(torch.optim.SGD, lr=0.1), n_iter=2, batch_size=None)


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
)
