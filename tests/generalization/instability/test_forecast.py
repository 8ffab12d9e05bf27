import math

import matplotlib
import numpy as np
import pytest

from assay.core import InvalidInputError, NumericalError
from assay.generalization import predict_instability

matplotlib.use("Agg")

SIZES = (1e5, 4e5, 2e6, 1e7, 5e7)


def parabola(size, a=0.03, b=-0.2, c=1.5):
    return math.exp(a * math.log(size) ** 2 + b * math.log(size) + c)


def test_a_quadratic_law_is_found_again():
    found = predict_instability(SIZES, [parabola(size) for size in SIZES], 3e8, threshold=parabola(2e8))
    assert found.coefficients == pytest.approx((0.03, -0.2, 1.5), rel=1e-7)
    assert found.predicted == pytest.approx(parabola(3e8), rel=1e-8)
    assert found.interval == pytest.approx((found.predicted, found.predicted), rel=1e-6)
    assert found.unstable
    assert found.agreed
    assert "expected to be unstable" in str(found)
    assert len(found.plot().lines) > 2


def test_the_interval_is_that_of_fits_without_one_size():
    noise = np.random.default_rng(0).normal(0, 0.3, len(SIZES))
    values = [parabola(size) * math.exp(e) for size, e in zip(SIZES, noise, strict=True)]
    found = predict_instability(SIZES, values, 1e8)
    ends = []
    for left in range(len(SIZES)):
        rest = [k for k in range(len(SIZES)) if k != left]
        powers = np.vander(np.log([SIZES[k] for k in rest]), 3)
        fit = np.linalg.lstsq(powers, np.log([values[k] for k in rest]), rcond=None)[0]
        ends.append(float(np.exp(np.vander([math.log(1e8)], 3) @ fit)[0]))
    assert found.interval == pytest.approx((min(ends), max(ends)), rel=1e-6)


def test_three_sizes_have_no_interval_and_a_threshold_may_be_passed_from_above():
    found = predict_instability([1, 10, 100], [1e-4, 1e-5, 1e-6], 1e4, threshold=1.1e-8, side="below")
    assert found.predicted == pytest.approx(1e-8)
    assert found.unstable
    assert found.interval is None
    assert found.agreed is None
    assert "no interval" in str(found)
    assert not predict_instability([1, 10, 100], [1e-4, 1e-5, 1e-6], 1e4, threshold=9e-9, side="below").unstable


def test_disagreement_is_told():
    values = [parabola(size) for size in SIZES[:3]] + [3 * parabola(1e7)]
    found = predict_instability(SIZES[:4], values, 1e8, threshold=2 * parabola(1e8))
    assert found.agreed is False
    assert "disagree" in str(found)


@pytest.mark.parametrize(
    ("sizes", "values", "next_size", "error"),
    [
        ([1, 2], [1, 2], 3, InvalidInputError),
        ([1, 2, 2], [1, 2, 2], 3, InvalidInputError),
        ([1, 2, 3], [1, 2], 4, InvalidInputError),
        ([1, 2, 3], [1, 2, math.inf], 4, InvalidInputError),
        ([1, 2, 3], [1, 2, 0], 4, InvalidInputError),
        ([1, 2, 3], [1, 2, 3], 3, InvalidInputError),
        ([1, 2, 3], [1, 2, 1e9], 1e9, NumericalError),
    ],
)
def test_unusable_measurements_are_refused(sizes, values, next_size, error):
    with pytest.raises(error):
        predict_instability(sizes, values, next_size)
