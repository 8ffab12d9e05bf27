"""Figures and table of the study of reconstruction from general losses."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

IMAGES_CAPTION = (
    "The ten training images that were recovered best from the first network trained with {} (above), and what its "
    "weights gave back (below), with their correlation"
)
TRENDS_CAPTION = (
    "Median best correlation of the training images, of images that the networks never saw, and with random "
    "candidates, against weight decay, hidden units and training images; points are networks, lines means over seeds"
)
TABLE_CAPTION = (
    "Means over seeds; counts of training images. n75 and n90 are images with NCC above 0.75 and 0.9; held_out, random "
    "and rows count what the nulls bring above 0.75; median, held_out_median and random_median are medians of best "
    "NCCs; distinct counts hidden units that are no multiples of one another; rank is the dimension of the data's span "
    "that the attack reads off the first dense layer, effective_rank the exponential of its spectrum's entropy; "
    "gradient_norm is where training ended, loss and weight decay together; seconds are of the attack, on one core"
)
COLUMNS = (
    *("n75", "n90", "held_out", "random", "rows", "median", "held_out_median", "random_median"),
    *("distinct", "rank", "effective_rank", "gradient_norm", "seconds"),
)
CURVES = {"median": "training images", "held_out_median": "held-out images", "random_median": "random candidates"}

Networks = Mapping[str, dict[str, np.ndarray]]
"""What was measured on each kind of network, by seed."""


def draw_trends(trends: Mapping[str, Networks]) -> Figure:
    """Draw the medians against what varies from one kind of network to the next, one panel a trend."""
    size = (3.4 * len(trends), 3.0)
    figure, axes = plt.subplots(1, len(trends), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, (label, nets) in zip(axes[0], trends.items(), strict=True):
        draw_trend(ax, nets)
        ax.set_xlabel(label)
    axes[0, 0].set_ylabel("median best NCC")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=len(CURVES), frameon=False)
    return figure


def draw_trend(ax: Axes, nets: Networks) -> None:
    """Draw the medians of networks whose names are their places on the axis."""
    for key, label in CURVES.items():
        values = np.stack([net[key] for net in nets.values()])
        (line,) = ax.plot(values.mean(1), label=label)
        ax.plot(values, "o", color=line.get_color(), markersize=3)
    ax.set_xticks(range(len(nets)), labels=list(nets))


def rows(nets: Networks, sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return one row of means a kind of network."""
    return [
        {"network": name, "n": sizes[name], "seeds": len(net["n75"])}
        | {column: float(f"{net[column].mean():.3g}") for column in COLUMNS}
        for name, net in nets.items()
    ]
