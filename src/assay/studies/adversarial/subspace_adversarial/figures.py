"""Figures of the study of perturbations off the data's subspace."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import chi2

from assay.lab import Grid
from assay.lab.plots import dots


def draw_law(statistics: np.ndarray, codim: int) -> Figure:
    """Draw the measured statistics as a histogram under the density of the chi-squared law."""
    figure, axes = plt.subplots()
    axes.hist(statistics, bins=20, density=True, alpha=0.6, label="trained networks")
    x = np.linspace(codim / 4, 9 * codim / 4, 200)
    axes.plot(x, chi2.pdf(x, codim), label=f"the law, chi-squared ({codim})")
    axes.set(xlabel="squared gradient off the subspace, scaled", ylabel="density", title="The law after training")
    axes.legend()
    return figure


def draw_radii(found: Grid) -> Figure:
    """Draw the flip radii of each variant, one dot a network: own gradients, and one direction for all points."""
    series = {"own gradient, median": "flip radius", "one direction, farthest point": "flip radius, one direction"}
    radii = {
        name: {variant: part[key] for variant, part in found.by("variant").items()} for name, key in series.items()
    }
    return dots(radii, ylabel="flip radius (points have norm 10)", title="How far off the subspace decisions flip")
