"""Figures of the study of convergent learning."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_matches(grids: dict[str, Grid], n_layers: dict[str, int]) -> Figure:
    """Draw sorted matched correlations, a panel a layer, a line a pair of networks."""
    panels = [(name, grid, layer) for name, grid in grids.items() for layer in range(1, n_layers[name] + 1)]
    figure, axes = plt.subplots(1, len(panels), figsize=(2.2 * len(panels), 2.6), sharey=True, squeeze=False)
    for ax, (name, grid, layer) in zip(axes[0], panels, strict=True):
        for scores in grid[f"scores {layer}"]:
            ax.plot(np.linspace(0, 1, len(scores)), scores, color="C0", linewidth=0.9)
        ax.axhline(grid["untrained match"][:, layer - 1].mean(), color="C1", linestyle="--", linewidth=0.9)
        ax.set(title=f"{name}, layer {layer}", xlabel="share of units")
    axes[0][0].set_ylabel("matched correlation")
    axes[0][0].plot([], [], color="C1", linestyle="--", label="mean before training")
    axes[0][0].legend(loc="lower left", fontsize="x-small")
    return figure


def draw_prediction(grids: dict[str, Grid], n_layers: dict[str, int]) -> Figure:
    """Draw the error of sparse prediction against the share of units that it takes."""
    figure, axes = plt.subplots()
    color = 0
    for name, grid in grids.items():
        for layer in range(n_layers[name]):
            share = (grid["sources"] / grid["units"][..., None])[:, layer].mean(0)
            errors = grid["errors"][:, layer].mean(0)
            axes.plot(share, errors, f"C{color}o-", label=f"{name}, layer {layer + 1}")
            one = 1 - grid["one-to-one r2"][:, layer].mean()
            axes.plot([1 / grid["units"][:, layer].mean()], [one], f"C{color}s", markerfacecolor="none")
            color += 1
    axes.set(xlabel="share of the other network's units that are used", ylabel="unexplained share of variance")
    axes.set_ylim(0, None)
    axes.legend()
    return figure
