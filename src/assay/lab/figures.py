"""Figure files: the house's style, reproducible bytes, readable in light and dark mode."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from assay.lab.files import Encoded

INK, FAINT = "#23272e", "#c9ccd1"
"""Text and axes; grid lines. In dark mode a figure's own style sheet swaps both."""

PALETTE = ("#3b78d8", "#cc7415", "#2b9a76", "#c05078", "#8467cf", "#77818d")
"""Six colours that stand out on white and on near-black."""

LARGEST_SVG = 400_000
"""Bytes. A figure with more (thousands of points) is kept as PNG, so that records stay small."""

_STYLE: dict[Any, Any] = {
    "figure.figsize": (7.0, 4.2),
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "patch.edgecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "image.interpolation": "nearest",
}

_DARK = """<style>@media (prefers-color-scheme: dark) {
svg, [style*="fill: #23272e"], [style*="fill: #000000"] { fill: #e4e6ea !important }
[style*="stroke: #23272e"], [style*="stroke: #000000"] { stroke: #e4e6ea !important }
[style*="stroke: #c9ccd1"] { stroke: #474c55 !important }
[style*="fill: none"] { fill: none !important }
}</style>"""


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style inside a ``with`` block, without a screen.

    Yields:
        Nothing; matplotlib's settings are as before afterwards.
    """
    with mpl.rc_context(_STYLE):
        yield


def encode_figure(figure: Figure) -> Encoded:
    """Return a figure as the bytes of an SVG, or of a PNG where the SVG is large.

    The same figure gives the same bytes: SVG identifiers are salted with a constant, no date is written.

    Args:
        figure: A matplotlib figure.

    Returns:
        The suffix (``.svg`` or ``.png``) and the content.

    >>> encode_figure(Figure()).suffix
    '.svg'
    """
    drawing = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "assay", "svg.fonttype": "path"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    svg = drawing.getvalue().decode()
    if len(svg) <= LARGEST_SVG:
        head, tag, body = svg.partition("</metadata>")
        return Encoded(".svg", (head + tag + _DARK + body).encode() if tag else svg.encode())
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return Encoded(".png", drawing.getvalue())


def describe_figure(figure: Figure) -> str:
    """Put a figure's titles and axis labels into words, for readers who do not see it.

    Args:
        figure: A matplotlib figure.

    Returns:
        One line; empty for a figure without any text.
    """
    parts = [figure.get_suptitle()]
    for axes in figure.axes:
        parts.append(axes.get_title() or axes.get_title("left"))
        if axes.get_xlabel() and axes.get_ylabel():
            parts.append(f"{axes.get_ylabel()} against {axes.get_xlabel()}")
    return "; ".join(dict.fromkeys(part.replace("\n", " ") for part in parts if part))
