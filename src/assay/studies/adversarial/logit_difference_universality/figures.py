"""Figures of the study of logit gaps."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def draw_curves(eps: list[float], curves: dict[str, list[float]]) -> Figure:
    """Draw the share of changed decisions against the perturbation's size, one line a kind of network."""
    figure, axes = plt.subplots()
    styles = ("-", "--")
    for index, (kind, errors) in enumerate(curves.items()):
        seen = [(size, error) for size, error in zip(eps, errors, strict=True) if error > 0]
        axes.loglog(*zip(*seen, strict=True), styles[index // 5] + "o", color=f"C{index % 5}", markersize=4, label=kind)
    axes.set(xlabel="size of the perturbation, infinity norm", ylabel="share of decisions changed", title="FGSM")
    axes.legend()
    return figure


def draw_training(cells: list[dict[str, Any]]) -> Figure:
    """Draw the exponent of the gap's law against the epoch, one line a seed."""
    figure, axes = plt.subplots()
    for cell in cells:
        epochs = [row["epoch"] for row in cell["epochs"]]
        axes.plot(epochs, [row["slope"] for row in cell["epochs"]], "o-", color="C0", alpha=0.5)
    axes.axhspan(0.8, 1.2, alpha=0.12)
    axes.set(xlabel="epoch", ylabel="exponent near zero", title="The gap's law during training", ylim=(0, 1.6))
    return figure
