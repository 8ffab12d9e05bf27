"""Figures of the study of random interpolators."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid
from assay.studies.generalization.random_interpolators.cells import function_prior


def draw_priors(widths: tuple[int, ...]) -> Figure:
    """Draw the prior probability of the functions against their rank, one line a width."""
    figure, axes = plt.subplots()
    for width in widths:
        probabilities = function_prior(width).probabilities.numpy()
        ranks = np.arange(1, len(probabilities) + 1)
        axes.loglog(ranks, probabilities, label=f"{width} hidden units")
    axes.axhline(
        1 / len(function_prior(widths[-1]).counts),
        color="0.5",
        linestyle="--",
        linewidth=0.8,
        label="uniform over functions, widest",
    )
    axes.set(xlabel="rank of the function", ylabel="prior probability")
    axes.legend()
    return figure


def draw_risk(risk: Grid, exact: Grid) -> Figure:
    """Draw the mean risk against the number of training points, with the bound that the teacher gives."""
    figure, axes = plt.subplots()
    sizes = np.asarray(risk.factors["size"])
    for index, (width, found) in enumerate(risk.by("width").items()):
        axes.loglog(sizes, found["risk"].mean(1), f"C{index}o-", label=f"{width} hidden units")
        bound = exact.at(width=width)["complexity"] / sizes
        axes.loglog(sizes, bound, f"C{index}--", linewidth=0.8, label=f"bound, {width} hidden units")
    axes.set(xlabel="training points", ylabel="mean test error of guess and check")
    axes.legend()
    return figure
