"""Figures of the study of MALT."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def draw_success(malt: np.ndarray, naive: np.ndarray) -> Figure:
    """Draw the share of MALT's final success against the number of targets: the mean, and the range over seeds."""
    figure, axes = plt.subplots()
    tried = np.arange(1, malt.shape[1] + 1)
    for curves, label, marker in ((malt, "MALT: nearest first", "o"), (naive, "naive: likeliest first", "s")):
        share = curves / malt[:, -1:]
        axes.plot(tried, share.mean(0), marker=marker, label=label)
        axes.fill_between(tried, share.min(0), share.max(0), alpha=0.15)
    axes.set(xlabel="targets tried", ylabel="share of all successes found", title="Success by number of targets")
    axes.legend()
    return figure


def draw_linearity(cells: list[dict[str, Any]]) -> Figure:
    """Draw the gradient's relative change along both directions, one line a seed."""
    figure, axes = plt.subplots()
    radii = np.linspace(0.1, 1.0, len(cells[0]["adversarial"]))
    for colour, (name, label) in enumerate((("adversarial", "perturbation"), ("shuffled", "its pixels shuffled"))):
        curves = np.array([cell[name] for cell in cells]).T
        axes.plot(radii, curves, color=f"C{colour}", label=[label, *[None] * (len(cells) - 1)])
    axes.set(xlabel="share of the perturbation", ylabel="relative change of the gradient", title="Almost linearity")
    axes.legend()
    return figure
