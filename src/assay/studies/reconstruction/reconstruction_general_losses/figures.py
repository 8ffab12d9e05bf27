"""Figures and captions of the study of reconstruction from general losses."""

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid, plots

IMAGES_CAPTION = (
    "The ten training images that were recovered best from the first network trained with squared error (above), and "
    "what its weights gave back (below), with their correlation"
)
TREND_CAPTION = (
    "Median best correlation of the training images, of images that the networks never saw, and with random "
    "candidates, by {}; lines are means over seeds, bands their range"
)
TABLE_CAPTION = (
    "Means over seeds with 95% intervals. NCC > 0.75, NCC > 0.9 and the nulls at NCC > 0.75 (held out, random, rows) "
    "count images; distinct units are hidden units that are no multiples of one another; rank is the dimension of the "
    "data's span that the attack reads off the first dense layer, effective rank the exponential of its spectrum's "
    "entropy; the gradient's norm, loss and weight decay together, is where training ended; seconds are CPU seconds of "
    "the attack. Convolutional networks have no rows and no distinct units. Regressions are of {regression_n} images, "
    "convolutional networks of {convolution_n}, and others of {n} where they do not say"
)
COLUMNS = (
    *("NCC > 0.75", "NCC > 0.9", "held out", "random", "rows"),
    *("median NCC", "held out: median NCC", "random: median NCC"),
    *("distinct units", "rank", "effective rank", "gradient norm", "seconds"),
)
CURVES = {
    "training images": "median NCC",
    "held-out images": "held out: median NCC",
    "random candidates": "random: median NCC",
}


def draw_best(found: Grid) -> Figure:
    """Draw the images that were recovered best from the first network."""
    first = found.cells[0]
    return plots.image_pairs(first["training images"], first["recovered images"], first["NCC"])


def draw_trend(nets: Grid, names: Iterable[str], places: Iterable[float], xlabel: str) -> Figure:
    """Draw the medians of networks against what varies from one to the next."""
    found = [nets.at(network=name) for name in names]
    curves = {label: np.stack([net[entry] for net in found], axis=1) for label, entry in CURVES.items()}
    return plots.curves([f"{place:g}" for place in places], curves, xlabel=xlabel, ylabel="median best NCC")
