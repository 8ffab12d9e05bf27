"""Figures of the study of perturbations off the data's subspace."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import chi2
from torch import Tensor


def draw_law(statistics: list[float]) -> Figure:
    """Draw the measured statistics as a histogram under the density of the chi-squared law."""
    figure, axes = plt.subplots()
    axes.hist(statistics, bins=20, density=True, alpha=0.6, label="trained networks")
    grid = np.linspace(10, 90, 200)
    axes.plot(grid, chi2.pdf(grid, 40), color="C1", label="the law, chi-squared (40)")
    axes.set(xlabel="squared gradient off the subspace, scaled", ylabel="density", title="The law after training")
    axes.legend()
    return figure


def draw_radii(radii: dict[str, tuple[list[float], list[float]]]) -> Figure:
    """Draw the flip radii of each variant, one dot a network: own gradients, and the universal direction."""
    figure, axes = plt.subplots()
    for series, (label, shift) in enumerate((("own gradient, median", -0.1), ("one direction, farthest point", 0.1))):
        for place, found in enumerate(radii.values()):
            dots = found[series]
            title = label if place == 0 else None
            axes.plot([place + shift] * len(dots), dots, "os"[series], color=f"C{series}", alpha=0.7, label=title)
    axes.set(
        ylabel="flip radius (points have norm 10)", title="How far off the subspace decisions flip", ylim=(0, None)
    )
    axes.set_xticks(range(len(radii)), list(radii))
    axes.legend()
    return figure


def draw_flips(before: Tensor, after: Tensor) -> Figure:
    """Draw images with their blank half, and below them the same after the attack on the blank half."""
    side = math.isqrt(before.shape[1] // 2)
    figure, axes = plt.subplots(2, len(before), figsize=(7.0, 2.4), squeeze=False)
    for row, images in zip(axes, (before, after), strict=True):
        for place, image in zip(row, images, strict=True):
            place.imshow(image.view(side, 2 * side).numpy(), cmap="gray", vmin=-0.5, vmax=1)
            place.set(xticks=[], yticks=[])
    return figure
