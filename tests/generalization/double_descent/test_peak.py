import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, NumericalError, seeded
from assay.generalization.double_descent import (
    DoubleDescentCurve,
    FactorStudy,
    GradientDescent,
    LeastSquares,
    Peak,
    RandomFeatureModel,
    double_descent_curve,
    factor_study,
    find_peak,
)


def regression(n=20, d=5, seed=0):
    source = seeded(seed)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)  # noqa: E731
    return draw(n, d), draw(n), draw(50, d), draw(50)


def curve(test_loss, train_loss=(0.5, 0.01, 0.0, 0.0), threshold=100.0):
    rows = lambda values: torch.tensor([values], dtype=torch.float64)  # noqa: E731
    return DoubleDescentCurve(
        widths=(20, 90, 120, 400),
        train_loss=rows(train_loss),
        test_loss=rows(test_loss),
        test_error=None,
        zero_loss=rows((1.0,) * 4),
        threshold=threshold,
    )


def test_peaks_are_found_near_the_threshold_only():
    widths, values = (20, 90, 120, 400), torch.tensor([9.0, 3.0, 4.0, 2.0])
    assert find_peak(widths, values, 100) == Peak(2.0, 120, True)
    assert find_peak(widths, values) == Peak(2.0, 120, True)
    assert find_peak(widths, values.flip(0)) == Peak(4 / 9, 90, True)
    assert find_peak(widths, values.sort().values) == Peak(1.0, 400, False)
    assert find_peak(widths, values, 400) == Peak(1.0, 400, False)
    assert find_peak(widths, values, 70) == Peak(1.5, 90, False)
    assert not find_peak(widths, torch.tensor([1.0, 1.0, 1.4, 1.0]), 100).present
    assert find_peak(widths, torch.tensor([1.0, 1.0, 1.6, 1.0]), 100).present


@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=4), st.floats(0.01, 100))
def test_a_height_has_no_unit(values, scale):
    values = torch.tensor(values, dtype=torch.float64)
    one, other = (find_peak((1, 2, 3, 4), curve, 2.5) for curve in (values, scale * values))
    assert one.height == pytest.approx(other.height)


@pytest.mark.parametrize(
    ("widths", "values", "threshold", "message"),
    [
        ((1, 2), torch.ones(2), None, "three or more"),
        ((1, 3, 2), torch.ones(3), None, "growing"),
        ((1, 2, 3), torch.ones(4), None, "one value for each"),
        ((1, 2, 3), torch.ones(3), 90.0, "threshold"),
    ],
)
def test_curves_without_a_peak_to_look_for_are_refused(widths, values, threshold, message):
    with pytest.raises(InvalidInputError, match=message):
        find_peak(widths, values, threshold)


def test_a_curve_that_ends_at_zero_has_no_height():
    with pytest.raises(NumericalError, match="largest width"):
        find_peak((1, 2, 3), torch.tensor([1.0, 1.0, 0.0]))


def test_settings_are_counted_by_loss_and_peak():
    peak, none = (1.0, 2.0, 5.0, 1.0), (4.0, 1.0, 1.0, 1.0)
    study = FactorStudy(
        {
            "both": curve(peak, train_loss=(1, 0.01, 0, 0)),
            "neither": curve(none, train_loss=(1, 0.9, 0, 0)),
            "odd": curve(peak, train_loss=(1, 0.3, 0, 0)),
        }
    )
    assert study.contingency.tolist() == [[1, 0], [1, 1]]
    assert study.exceptions == ("odd",)
    # Ranks of -loss (3, 1, 2) and of height (2.5, 1, 2.5): Pearson's correlation of the ranks.
    assert study.correlation == pytest.approx(math.sqrt(3) / 2)
    assert [row["setting"] for row in study.rows()] == ["both", "neither", "odd"]
    assert math.isnan(FactorStudy({"a": curve(peak), "b": curve(peak)}).correlation)
    with pytest.raises(InvalidInputError, match="two or more"):
        FactorStudy({"one": curve(peak)})


def test_a_factor_study_trains_all_settings_from_the_same_seeds():
    settings = {"short": RandomFeatureModel(GradientDescent(2)), "exact": RandomFeatureModel(LeastSquares())}
    study = factor_study(*regression(), settings=settings, widths=(5, 20, 60), n_seeds=2, generator=seeded(3))
    alone = double_descent_curve(
        *regression(),
        train=settings["exact"],
        widths=(5, 20, 60),
        n_seeds=2,
        generator=seeded(int(torch.randint(2**31 - 1, (1,), generator=seeded(3)))),
    )
    assert torch.equal(study.curves["exact"].test_loss, alone.test_loss)
    assert study.peak_heights["exact"] > study.peak_heights["short"]
    assert "Of 2 settings" in str(study)


def test_figures_show_the_threshold_and_every_setting():
    axes = curve((1.0, 2.0, 5.0, 1.0)).plot()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "test loss",
        "training loss",
        "interpolation threshold",
    ]
    study = FactorStudy({"a": curve((1.0, 2.0, 5.0, 1.0)), "b": curve((1.0, 2.0, 1.0, 1.0))})
    assert [text.get_text() for text in study.plot().get_legend().get_texts()] == ["a", "b"]
