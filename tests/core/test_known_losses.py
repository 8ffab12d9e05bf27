"""Targets of known losses: of any type and shape, or refused with the mend."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import (
    InvalidInputError,
    binary_cross_entropy,
    cross_entropy,
    loss_kind,
    mean_over_samples,
    squared_error,
)
from helpers.loss_data import CLASSES, PLACES, WEIGHTS, N, classes, inputs, network, several, soft_labels, token_labels


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        cross_entropy,
        binary_cross_entropy,
        squared_error,
        nn.CrossEntropyLoss(weight=WEIGHTS[1:3] + 1),
        partial(F.cross_entropy, ignore_index=1),
        nn.BCEWithLogitsLoss(),
        nn.MSELoss(),
        F.mse_loss,
        lambda outputs, y: F.cross_entropy(outputs, y),
    ],
)
def test_labels_of_any_width_and_columns_mean_the_same(loss, column, dtype) -> None:
    if dtype == torch.bool and loss_kind(loss) is None:
        pytest.skip("booleans may be a mask to a loss of a user's own")
    n_outputs = 2 if loss_kind(loss) in ("cross_entropy", None) else 1
    model, x, y = network(n_outputs), inputs(), classes() % 2
    expected = mean_over_samples(loss, model, x, y)(model(x), y)
    given = y.to(dtype)[:, None] if column else y.to(dtype)
    torch.testing.assert_close(mean_over_samples(loss, model, x, given)(model(x), given), expected)
    flat = nn.Sequential(model, nn.Flatten(0)) if n_outputs == 1 else model
    torch.testing.assert_close(mean_over_samples(loss, flat, x, given)(flat(x), given), expected)


def test_signs_and_zero_one_labels_are_the_same_to_our_binary_loss() -> None:
    model, x, y = network(1), inputs(), classes() % 2
    for labels in (2 * y - 1, (2 * y - 1).double()[:, None], y.double()):
        mean = mean_over_samples(binary_cross_entropy, model, x, labels)
        torch.testing.assert_close(
            mean(model(x), labels), F.binary_cross_entropy_with_logits(model(x).squeeze(1), y.double())
        )


def columns(n: int) -> torch.Tensor:
    return torch.zeros(N, n)


@pytest.mark.parametrize(
    ("loss", "n_outputs", "y", "message"),
    [
        (cross_entropy, 4, classes() + 1, r"labels from 1 to 4.*relabel the classes as 0\.\.3"),
        (cross_entropy, 4, classes().double(), r"use y\.long\(\)"),
        (cross_entropy, 4, F.one_hot(classes(), 4), r"use y\.argmax\(1\)"),
        (cross_entropy, 4, several(4), "class probabilities"),
        (cross_entropy, 4, F.one_hot(classes(), 5), "integer class labels"),
        (nn.NLLLoss(), 4, soft_labels(), "integer class labels"),
        (cross_entropy, 4, torch.full((N,), -100), "no label counts"),
        (cross_entropy, 2, 2 * (classes() % 2) - 1, r"\(y \+ 1\) // 2"),
        (nn.CrossEntropyLoss(), 1, classes() % 2, "use binary_cross_entropy"),
        (nn.BCEWithLogitsLoss(), 1, 2 * (classes() % 2) - 1, r"between 0 and 1.*\(y \+ 1\) / 2"),
        (nn.BCEWithLogitsLoss(), 4, classes() % 2, "do not pair up"),
        (nn.BCEWithLogitsLoss(weight=torch.ones(N, 1)), 1, classes() % 2, "for each sample"),
        (binary_cross_entropy, 1, classes(), "0 and 1, or -1 and 1"),
        (binary_cross_entropy, 1, soft_labels()[:, 0], "0 and 1, or -1 and 1"),
        (binary_cross_entropy, 4, classes() % 2, "use cross-entropy"),
        (binary_cross_entropy, 1, columns(2), "vector"),
        (nn.MSELoss(), 4, classes(), r"do not pair up.*one_hot"),
        (squared_error, 4, several(3), "do not pair up"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_mend(loss, n_outputs, y, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        mean_over_samples(loss, network(n_outputs), inputs(), y)


def test_tokens_with_classes_on_the_last_axis_are_told_to_move_them() -> None:
    model = nn.Sequential(*network(CLASSES * PLACES), nn.Unflatten(1, (PLACES, CLASSES)))
    with pytest.raises(InvalidInputError, match=r"movedim\(-1, 1\)"):
        mean_over_samples(nn.CrossEntropyLoss(), model, inputs(), token_labels())
