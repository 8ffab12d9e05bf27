"""Figures of the study of attacks that know more."""

import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid, plots

KNOWN_CAPTION = (
    "Ten training images of the first wide network that were recovered best, and what its initial and final weights "
    "gave back, with their correlation"
)
SIMULATED_CAPTION = (
    "Training digits and what simulated training gave back, with their correlation: the first dense network, then the "
    "first convolution network"
)
NOISE_CAPTION = (
    "Linear heads trained on one image of each class by DP-SGD: members told at 1% false positives, and accuracy, by "
    "the noise multiplier"
)


def draw_pairs(*networks: Grid) -> Figure:
    """Draw the images of the first network of each kind above what was recovered."""
    first = [found.cells[0] for found in networks]
    return plots.image_pairs(*(np.concatenate([cell[key] for cell in first]) for key in ("train", "found", "ncc")))


def draw_noise(shadows: Grid) -> Figure:
    """Draw accuracy and success of the attack over the noise."""
    noises = [f"{noise:g}" for noise in shadows.factors["noise"]]
    curves = {name: shadows[name].T for name in ("members told", "accuracy")}
    return plots.curves(noises, curves, xlabel="noise multiplier", ylabel="share")
