from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from assay.core import InvalidInputError
from assay.lab.figures import encode_figure, house_style
from assay.lab.plots import bars, curves, dots, image_pairs, image_rows

VALUES = np.array([[1.0, 2.0, 4.0], [3.0, 2.0, 5.0]])


def labels(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_rows_of_images_are_drawn_as_they_are() -> None:
    grey, colour = torch.rand(2, 1, 4, 5), np.random.default_rng(0).random((3, 3, 4, 5))
    figure = image_rows({"grey": grey, "colour": colour}, titles=["a", "b", "c"])
    shown = [axes.get_images() for axes in figure.axes]
    assert [len(images) for images in shown] == [1, 1, 0, 1, 1, 1]
    np.testing.assert_array_equal(shown[1][0].get_array(), grey[1, 0].numpy())
    np.testing.assert_array_equal(shown[5][0].get_array(), np.moveaxis(colour[2], 0, -1))
    assert shown[0][0].get_clim() == (0, 1)
    assert [axes.get_ylabel() for axes in figure.axes] == ["grey", "", "", "colour", "", ""]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "", "", ""]


def test_images_are_clipped_to_their_limits_or_stretched() -> None:
    image = np.array([[[-1.0, 0.5], [2.0, 3.0]]])
    assert image_rows({"a": image}).axes[0].get_images()[0].get_array().tolist() == [[0, 0.5], [1, 1]]
    assert image_rows({"a": image}, limits=(-1, 2)).axes[0].get_images()[0].get_clim() == (-1, 2)
    stretched = image_rows({"a": image}, limits=None).axes[0].get_images()[0]
    assert stretched.get_clim() == (-1, 3)


def test_pairs_of_images_bear_their_correlation() -> None:
    figure = image_pairs(torch.zeros(2, 4, 4), torch.ones(2, 4, 4), torch.tensor([0.914, 0.5]))
    assert [axes.get_title() for axes in figure.axes] == ["0.91", "0.50", "", ""]
    assert figure.axes[2].get_ylabel() == "recovered"
    assert figure.axes[2].get_images()[0].get_array().min() == 1


def test_curves_are_means_with_the_range_over_seeds() -> None:
    figure = curves(
        [1, 2, 3], {"one": VALUES, "two": torch.tensor([1.0, 1, 1])}, xlabel="n", ylabel="v", title="T", log="y"
    )
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[2, 2, 4.5], [1, 1, 1]]
    assert axes.get_lines()[0].get_xdata().tolist() == [1, 2, 3]
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(1, 1), (1, 3), (2, 2), (3, 4), (3, 5)} <= corners
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("n", "v", "T")
    assert labels(figure) == ["one", "two"]


def test_the_band_may_be_the_interval_of_the_mean_or_the_seeds_themselves() -> None:
    figure = curves(["a", "b", "c"], {"one": VALUES}, xlabel="n", ylabel="v", band="interval")
    (band,) = figure.axes[0].collections
    assert isinstance(band, PolyCollection)
    low, high = scipy.stats.t.interval(0.95, 1, VALUES[:, 0].mean(), scipy.stats.sem(VALUES[:, 0]))
    ends = [y for x, y in band.get_paths()[0].vertices if x == 0]
    assert (min(ends), max(ends)) == pytest.approx((low, high))
    single = curves([1, 2, 3], {"one": VALUES}, xlabel="n", ylabel="v", band="seeds", log="xy")
    assert [line.get_ydata().tolist() for line in single.axes[0].get_lines()] == VALUES.tolist()
    assert labels(single) == ["one"]
    assert single.axes[0].get_xscale() == "log"


def test_each_curve_looks_different() -> None:
    figure = curves([1, 2], {str(k): [k, k] for k in range(12)}, xlabel="n", ylabel="v")
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in figure.axes[0].get_lines()}
    assert len(looks) == 12


def test_dots_show_each_seed_and_the_mean() -> None:
    figure = dots({"mlp": [1.0, 3.0], "conv": torch.tensor([2.0, 2.0, 5.0])}, ylabel="rate", title="T", bar=2.5)
    (axes,) = figure.axes
    first, second, bar = axes.get_lines()
    assert (first.get_xdata().tolist(), first.get_ydata().tolist()) == ([0, 0], [1, 3])
    assert (second.get_xdata().tolist(), second.get_ydata().tolist()) == ([1, 1, 1], [2, 2, 5])
    assert list(bar.get_ydata()) == [2.5, 2.5]
    assert [means.get_segments()[0][0][1] for means in axes.collections] == [2, 3]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["mlp", "conv"]
    assert labels(figure) == []


def test_several_series_stand_beside_each_other() -> None:
    groups = {"own": {"a": [1.0], "b": [2.0]}, "other": {"a": [3.0], "b": [4.0]}}
    figure = dots(groups, ylabel="radius")
    places = [line.get_xdata().tolist() for line in figure.axes[0].get_lines()]
    assert places == [[-0.2], [0.8], [0.2], [1.2]]
    assert labels(figure) == labels(bars(groups, xlabel="radius")) == ["own", "other"]


def test_bars_are_as_long_as_the_means_and_may_be_ranked() -> None:
    groups = {"low": [1.0, 2.0], "high": [4.0, 6.0], "middle": 3.0}
    figure = bars(groups, xlabel="share", ranked=True)
    (axes,) = figure.axes
    assert [patch.get_width() for patch in axes.patches] == [5, 3, 1.5]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["high", "middle", "low"]
    assert [lines.get_segments()[0][:, 0].tolist() for lines in axes.collections] == [[4, 6], [1, 2]]
    assert axes.yaxis_inverted()
    plain = bars(groups, xlabel="share").axes[0]
    assert [tick.get_text() for tick in plain.get_yticklabels()] == list(groups)


def test_every_figure_can_be_kept() -> None:
    with house_style():
        for figure in (
            image_rows({"a": np.zeros((2, 4, 4))}),
            curves([1, 2, 3], {"one": VALUES}, xlabel="n", ylabel="v"),
            dots({"a": [1.0]}, ylabel="v"),
            bars({"a": [1.0]}, xlabel="v"),
        ):
            assert encode_figure(figure).suffix == ".svg"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: image_rows({}), "no image"),
        (lambda: image_rows({"a": np.zeros((2, 2, 4, 4))}), r"image of 'a' has the shape \(2, 4, 4\)"),
        (lambda: image_rows({"a": np.zeros((2, 4, 4))}, titles=["one"]), "1 titles were given for 2 columns"),
        (lambda: image_pairs(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)), [1, 1]), "give as many of each"),
        (
            lambda: curves([1, 2], {"a": VALUES}, xlabel="n", ylabel="v"),
            r"'a' has the shape \(2, 3\); give \(seeds, 2\)",
        ),
        (lambda: curves([1, 2], {}, xlabel="n", ylabel="v"), "nothing to draw"),
        (lambda: dots({}, ylabel="v"), "nothing to draw"),
        (lambda: bars({"one": {"a": 1}, "two": {"b": 1}}, xlabel="v"), r"'two' has the groups \['b'\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        draw()
