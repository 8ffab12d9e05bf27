"""Figures of the study of causal explanations."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_faithfulness(found: Grid) -> Figure:
    """Draw the recall of each class with the graph's edges alone and without them, beside random graphs."""
    figure, axes = plt.subplots()
    classes = found.factors["target"]
    names = ("original", "kept", "random kept", "dropped", "random dropped")
    for place, name in enumerate(names):
        positions = np.arange(len(classes)) + 0.16 * (place - 2)
        axes.bar(positions, found[name].mean(1), 0.15, label=name)
    axes.set_xticks(range(len(classes)), [f"class {target}" for target in classes])
    axes.set(ylabel="recall on unseen images", ylim=(0, 1.35))
    axes.legend(ncols=3, loc="upper center")
    return figure


def draw_stability(found: Grid, betas: tuple[float, ...]) -> Figure:
    """Draw the likeness of the graphs of soft interventions to that of hard ones."""
    figure, axes = plt.subplots()
    for target, cells in found.by("target").items():
        axes.plot(betas, cells["soft jaccard"].mean(0), "o-", label=f"class {target}")
    axes.axhline(0.7, color="0.5", linestyle="--", linewidth=0.8, label="bar, up to 0.02")
    axes.set(xlabel="lower end of the drawn weights", ylabel="Jaccard index with weights of zero", ylim=(0, 1))
    axes.legend()
    return figure
