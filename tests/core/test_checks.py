import pytest
import torch
from torch import nn

from assay.core import (
    InvalidInputError,
    MissingExtraError,
    NumericalError,
    check_finite,
    check_fraction,
    check_labels,
    check_logits,
    check_model,
    check_positive,
    check_samples,
    require_extra,
)


def test_labels_out_of_range_name_the_range() -> None:
    check_labels(torch.tensor([0, 2]), 3)
    with pytest.raises(InvalidInputError, match=r"0 to 3.*3 outputs.*0\.\.2"):
        check_labels(torch.tensor([0, 3]), 3)
    with pytest.raises(InvalidInputError, match="integer"):
        check_labels(torch.tensor([0.0]), 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.int64), "floating point"),
        (torch.zeros(3), "batch"),
        (torch.zeros(0, 3), "non-empty"),
        (torch.full((1, 1), float("inf")), "infinite"),
    ],
)
def test_samples_must_be_a_batch_of_finite_floats(x: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_samples(x)


def test_models_without_parameters_or_with_nan_weights() -> None:
    with pytest.raises(InvalidInputError, match="no parameters"):
        check_model(nn.ReLU())
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, float("inf"))
    with pytest.raises(InvalidInputError, match=r"weight.*healthy checkpoint"):
        check_model(layer)


def test_one_sample_forward_explains_a_wrong_shape() -> None:
    assert check_logits(nn.Linear(3, 2), torch.ones(4, 3)).shape == (1, 2)
    with pytest.raises(InvalidInputError, match=r"shape \(5,\)"):
        check_logits(nn.Linear(3, 2), torch.ones(4, 5))
    with pytest.raises(InvalidInputError, match="scores of shape"):
        check_logits(nn.Unflatten(1, (1, 3)), torch.ones(4, 3))
    with pytest.raises(NumericalError):
        check_logits(nn.Softplus(beta=0.0), torch.ones(4, 3))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_positive_numbers(value: float) -> None:
    with pytest.raises(InvalidInputError, match="eps"):
        check_positive(value, "eps")


def test_fractions_results_and_extras() -> None:
    check_fraction(0.5, "level")
    with pytest.raises(InvalidInputError, match="level"):
        check_fraction(1.0, "level")
    with pytest.raises(NumericalError, match="the score"):
        check_finite(torch.tensor([1.0, float("nan")]), "the score")
    with pytest.raises(MissingExtraError, match=r"assay\[ray\]"):
        require_extra("no_such_module", "ray")
