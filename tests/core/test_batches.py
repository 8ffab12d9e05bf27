"""Batches of an epoch: a rest of one sample joins the batch before it."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, fit, seeded, squared_error
from helpers.least_squares import SGD, problem


def sizes_of_batches(n: int, batch_size: int, **length: int) -> list[int]:
    """Return how many samples each step of training sees."""
    seen: list[int] = []
    model = problem()[0]
    model.register_forward_hook(lambda module, inputs, outputs: seen.append(len(inputs[0])))
    x = torch.randn(n, 3, dtype=torch.float64, generator=seeded(0))
    fit(model, x, x.sum(1), loss=squared_error, optimizer=SGD, batch_size=batch_size, generator=seeded(1), **length)
    return seen


def test_a_rest_of_one_sample_joins_the_batch_before_it() -> None:
    assert sizes_of_batches(33, 32, epochs=2) == [33, 33]
    assert sizes_of_batches(13, 4, epochs=2) == 2 * [4, 4, 5]
    assert sizes_of_batches(13, 4, n_iter=4) == [4, 4, 5, 4]
    # Every other batch is of the size that is asked for, or the rest.
    assert sizes_of_batches(14, 4, epochs=1) == [4, 4, 4, 2]
    assert sizes_of_batches(12, 4, epochs=1) == [4, 4, 4]
    assert sizes_of_batches(3, 1, epochs=1) == [1, 1, 1]
    assert sizes_of_batches(1, 4, epochs=2) == [1, 1]


def test_batch_norm_trains_on_one_sample_more_than_a_batch_and_needs_two() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    _, x, y = problem()
    fit(model, x[:9], y[:9], loss=squared_error, optimizer=SGD, epochs=1, batch_size=4, generator=seeded(0))
    with pytest.raises(InvalidInputError, match="at least two samples a batch"):
        fit(model, x[:1], y[:1], loss=squared_error, optimizer=SGD, epochs=1)
