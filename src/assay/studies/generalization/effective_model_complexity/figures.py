"""Figures of the study of effective model complexity."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.generalization.capacity import cover_probability
from assay.lab import Grid
from assay.studies.generalization.effective_model_complexity.cells import DIMENSIONS


def draw_cover(separable: Grid) -> Figure:
    """Draw how often random labels are separated against the number of points, with Cover's formula."""
    figure, axes = plt.subplots()
    sizes = np.asarray(separable.factors["size"])
    line = np.arange(1, sizes.max() + 5)
    axes.plot(line, [cover_probability(int(n), DIMENSIONS) for n in line], color="0.5", label="Cover's formula")
    axes.plot(sizes, separable["share"], "o", label="linear program")
    axes.set(xlabel=f"points in {DIMENSIONS} dimensions", ylabel="share of random labellings that are fitted")
    axes.legend()
    return figure


def draw_capacities(cells: dict[str, dict[str, Any]]) -> Figure:
    """Draw the samples that each network fits with original and with random labels, and its parameters."""
    figure, axes = plt.subplots(figsize=(6.4, 0.42 * len(cells) + 1.2))
    for place, cell in enumerate(cells.values()):
        for kind, color in (("original", "C0"), ("random", "C1")):
            values = np.asarray(cell[kind])
            capped = np.asarray(cell[f"{kind}, censored"]) > 0
            axes.plot(values, np.full(len(values), place), "o", color=color, label=kind if not place else None)
            axes.plot(values[capped], np.full(capped.sum(), place), ">", color=color, markersize=9)
        axes.plot(cell["parameters"], place, "|", color="0.2", markersize=12, label=None if place else "parameters")
    axes.set(xscale="log", xlabel="training samples that are fitted", yticks=range(len(cells)), yticklabels=list(cells))
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_gap(cells: dict[str, dict[str, Any]]) -> Figure:
    """Draw the test error of each network against its label gap, means over repeats."""
    figure, axes = plt.subplots()
    for place, (name, cell) in enumerate(cells.items()):
        gap, error = np.mean(cell["gap"]), np.mean(cell["test error"])
        axes.plot(gap, error, "os^Dvx"[place // 2 % 6], color=f"C{place % 6}", label=name)
    axes.set(xlabel="label gap, log original - log random", ylabel="test error")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
