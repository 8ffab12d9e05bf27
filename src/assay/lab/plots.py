"""Standard figures: rows of images, curves over seeds, dots and bars by group.

Values over seeds are arrays or tensors whose first axis is the seed. Inside an experiment the house's style is set;
elsewhere draw inside `assay.lab.figures.house_style`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.core import InvalidInputError
from assay.lab.intervals import student

_MARKERS = "os^Dvx"
_STYLES = ("-", "--", ":", "-.")
_COLOURS = 6  # of the palette

Groups = Mapping[str, Any] | Mapping[str, Mapping[str, Any]]
"""Values over seeds by group; or the same for each of several series, by the series' names."""


def image_rows(
    rows: Mapping[str, Any], *, titles: Sequence[str] | None = None, limits: tuple[float, float] | None = (0.0, 1.0)
) -> Figure:
    """Draw rows of images, one below the other, each with its name.

    Args:
        rows: Images by row, of shape (n, h, w) or (n, channels, h, w) with one channel or three.
        titles: A title for each column.
        limits: The values that are drawn black and white; None to stretch each image over its own range.

    Returns:
        The figure.

    Raises:
        InvalidInputError: No image, another shape, or another number of titles than of columns.

    >>> len(image_rows({"training": np.zeros((3, 8, 8)), "recovered": np.ones((3, 1, 8, 8))}).axes)
    6
    """
    pictures = {name: [_picture(image, name) for image in images] for name, images in rows.items()}
    columns = max((len(row) for row in pictures.values()), default=0)
    if columns == 0:
        raise InvalidInputError("there is no image to draw; give one or more rows of images.")
    if titles is not None and len(titles) != columns:
        raise InvalidInputError(f"{len(titles)} titles were given for {columns} columns; give one for each.")
    figure = Figure(figsize=(columns + 0.6, 1.15 * len(rows) + (0.3 if titles else 0)))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    low, high = limits or (None, None)
    for row, (name, images) in zip(grid, pictures.items(), strict=True):
        row[0].set_ylabel(name)
        for place, axes in enumerate(row):
            axes.set(xticks=[], yticks=[], frame_on=False)
            if place < len(images):
                image = images[place] if limits is None else images[place].clip(*limits)
                axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    for axes, title in zip(grid[0], titles or (), strict=False):
        axes.set_title(title, fontsize=8, loc="center")
    return figure


def image_pairs(train: Any, found: Any, ncc: Any) -> Figure:
    """Draw training images above what was recovered of them, with their correlation.

    Args:
        train: Images, as for `image_rows`.
        found: As many.
        ncc: The normalised cross-correlation of each pair.

    Returns:
        The figure.

    Raises:
        InvalidInputError: The numbers of images and correlations differ, or there is none.
    """
    if not len(train) == len(found) == len(ncc):
        raise InvalidInputError(
            f"{len(train)} training images, {len(found)} recovered ones and {len(ncc)} correlations were given; "
            "give as many of each."
        )
    return image_rows({"training": train, "recovered": found}, titles=[f"{float(value):.2f}" for value in ncc])


def curves(
    x: Sequence[Any] | Any,
    ys: Mapping[str, Any],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: Literal["", "x", "y", "xy"] = "",
    band: Literal["range", "interval", "seeds"] = "range",
) -> Figure:
    """Draw the mean over seeds of each curve, with a band.

    Args:
        x: The places of the points: numbers, or words.
        ys: Values by curve, of shape (seeds, points), or (points,) for a curve without seeds.
        xlabel: What `x` is, with its unit.
        ylabel: What the curves are, with their unit.
        title: The figure's title.
        log: Which axes are logarithmic.
        band: What surrounds the mean: the ``range`` over seeds, the 95% ``interval`` of the mean, or nothing, with a
            line for each of the ``seeds`` instead of their mean.

    Returns:
        The figure.

    Raises:
        InvalidInputError: No curve, or one with another number of points than `x`.
    """
    points = _numbers_or_words(x)
    figure = Figure()
    axes = figure.subplots()
    for index, (name, values) in enumerate(_checked(ys).items()):
        array = np.atleast_2d(np.asarray(values, dtype=float))
        if array.ndim != 2 or array.shape[1] != len(points):
            raise InvalidInputError(
                f"curve {name!r} has the shape {np.shape(values)}; give (seeds, {len(points)}), a value for each x."
            )
        look: dict[str, Any] = {"color": f"C{index % _COLOURS}", "linestyle": _STYLES[index // _COLOURS % 4]}
        if band == "seeds":
            axes.plot(points, array.T, **look, alpha=0.7, label=[name, *[None] * (len(array) - 1)])
            continue
        axes.plot(points, array.mean(0), **look, marker=_MARKERS[index % len(_MARKERS)], markersize=4, label=name)
        if len(array) > 1:
            axes.fill_between(points, *_band(array, band), color=look["color"], alpha=0.15, linewidth=0)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.set(**{f"{axis}scale": "log" for axis in log})
    axes.legend()
    return figure


def dots(groups: Groups, *, ylabel: str, title: str = "", bar: float | None = None) -> Figure:
    """Draw one dot a seed in each group, with a line at the group's mean.

    Args:
        groups: Values over seeds by group, of one or of several series.
        ylabel: What the values are, with their unit.
        title: The figure's title.
        bar: The value that was to be reached, as a dashed line.

    Returns:
        The figure.

    Raises:
        InvalidInputError: No group, or series with different groups.
    """
    series, names = _series(groups)
    figure = Figure()
    axes = figure.subplots()
    for index, (name, found) in enumerate(series.items()):
        for place, values in enumerate(found.values()):
            centre = place + _shift(index, len(series))
            look: dict[str, Any] = {"color": f"C{index % _COLOURS}"}
            label = name if place == 0 and name else None
            axes.plot([centre] * len(values), values, _MARKERS[index % len(_MARKERS)], **look, alpha=0.6, label=label)
            axes.hlines(values.mean(), centre - 0.3 / len(series), centre + 0.3 / len(series), **look)
    if bar is not None:
        axes.axhline(bar, color="0.5", linestyle="--", linewidth=1)
    axes.set(ylabel=ylabel, title=title)
    axes.set_xticks(range(len(names)), names)
    _legend(axes, series)
    return figure


def bars(groups: Groups, *, xlabel: str, title: str = "", ranked: bool = False) -> Figure:
    """Draw horizontal bars as long as the mean of each group, with a line over the range of its seeds.

    Args:
        groups: Values over seeds by group, of one or of several series.
        xlabel: What the values are, with their unit.
        title: The figure's title.
        ranked: Order the groups by the mean of the first series, the largest first.

    Returns:
        The figure.

    Raises:
        InvalidInputError: No group, or series with different groups.
    """
    series, names = _series(groups)
    if ranked:
        first = next(iter(series.values()))
        names = sorted(names, key=lambda group: -first[group].mean())
    height = 0.8 / len(series)
    figure = Figure(figsize=(7.0, (0.25 + 0.17 * len(series)) * len(names) + 1))
    axes = figure.subplots()
    for index, (name, found) in enumerate(series.items()):
        places = [place + _shift(index, len(series)) for place in range(len(names))]
        axes.barh(places, [found[group].mean() for group in names], 0.9 * height, label=name or None)
        for place, group in zip(places, names, strict=True):
            if len(found[group]) > 1:
                axes.hlines(place, found[group].min(), found[group].max(), color="0.4", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, title=title)
    _legend(axes, series)
    return figure


def _picture(image: Any, name: str) -> np.ndarray:
    picture = np.asarray(image, dtype=float)
    if picture.ndim == 3 and picture.shape[0] in (1, 3):
        picture = np.moveaxis(picture, 0, -1) if picture.shape[0] == 3 else picture[0]
    elif picture.ndim != 2:
        raise InvalidInputError(
            f"an image of {name!r} has the shape {picture.shape}; give (h, w), (1, h, w) or (3, h, w)."
        )
    return picture


def _numbers_or_words(x: Any) -> np.ndarray:
    points = np.asarray(x)
    return points if points.dtype.kind in "biufU" else np.asarray(x, dtype=float)


def _band(array: np.ndarray, band: str) -> tuple[np.ndarray, np.ndarray]:
    if band == "range":
        return array.min(0), array.max(0)
    intervals = [student(tuple(column)) for column in array.T]
    ends = np.array([(interval.low, interval.high) for interval in intervals if interval is not None])
    return ends[:, 0], ends[:, 1]


def _checked(groups: Mapping[str, Any]) -> Mapping[str, Any]:
    if not groups:
        raise InvalidInputError("there is nothing to draw; give values by name.")
    return groups


def _series(groups: Groups) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Return the values of each series by group, and the names of the groups."""
    several: Any = _checked(groups)
    if not isinstance(next(iter(several.values())), Mapping):
        several = {"": several}
    series = {
        name: {group: np.atleast_1d(np.asarray(values, dtype=float)) for group, values in _checked(found).items()}
        for name, found in several.items()
    }
    names = list(next(iter(series.values())))
    for name, found in series.items():
        if list(found) != names:
            raise InvalidInputError(f"series {name!r} has the groups {list(found)}; give all series {names}.")
    return series, names


def _shift(index: int, count: int) -> float:
    return (index - (count - 1) / 2) * 0.8 / count


def _legend(axes: Axes, series: Mapping[str, Any]) -> None:
    if any(series):
        axes.legend()
