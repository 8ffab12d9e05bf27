import pytest
import torch

from assay.core import (
    InvalidInputError,
    MissingExtraError,
    NumericalError,
    check_finite,
    check_fraction,
    check_labels,
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
