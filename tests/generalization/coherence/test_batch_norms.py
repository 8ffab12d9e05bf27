"""The estimate from batches of two sizes: exact on exact moments, and near alpha on batches of a linear model."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, NumericalError, parameter_gradients, seeded, squared_error
from assay.generalization import coherence_from_batches, gradient_coherence


def test_exact_moments_give_alpha() -> None:
    square, common = 5.0, 0.4
    moments = [square / size + (1 - 1 / size) * common for size in (3, 17)]
    assert coherence_from_batches([moments[0]], 3, [moments[1]], 17) == pytest.approx(common / square)


def test_2000_batches_of_a_linear_model_are_within_five_percent() -> None:
    source = seeded(0)
    x = torch.randn(200, 6, generator=source).double() + 0.7
    y = (x @ torch.ones(6).double())[:, None]
    layer = nn.Linear(6, 1).double()
    for value in layer.parameters():
        nn.init.zeros_(value)
    rows = parameter_gradients(layer, x, y, squared_error)
    norms = []
    for size in (4, 64):
        drawn = torch.randint(200, (2000, size), generator=source)
        norms.append(rows[drawn].mean(1).square().sum(1))
    alpha = gradient_coherence(layer, x, y, loss=squared_error).alpha
    # The standard error of the estimate is below one percent.
    assert coherence_from_batches(norms[0], 4, norms[1], 64) == pytest.approx(alpha, rel=0.05)


def test_bad_input_is_named() -> None:
    with pytest.raises(InvalidInputError, match="large_size"):
        coherence_from_batches([1.0], 4, [1.0], 4)
    with pytest.raises(InvalidInputError, match="at least one squared norm"):
        coherence_from_batches([], 1, [1.0], 4)
    with pytest.raises(NumericalError, match="measure more batches"):
        coherence_from_batches([0.1], 2, [5.0], 4)
