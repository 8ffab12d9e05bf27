"""Figures of the study of active and passive latent variables."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_correlations(found: Grid) -> Figure:
    """Draw absolute correlations of means above and of samples below the diagonal, first seed, one panel a beta."""
    betas = found.factors["beta"]
    figure, panels = plt.subplots(1, len(betas), squeeze=False, figsize=(3.2 * len(betas) + 0.8, 3.2))
    picture: Any = None
    for axes, (beta, cells) in zip(panels[0], found.by("beta").items(), strict=True):
        order = cells["order"][0]
        means, samples = (np.abs(cells[f"{name} correlation"][0])[np.ix_(order, order)] for name in ("mean", "sampled"))
        picture = axes.imshow(np.triu(means, 1) + np.tril(samples, -1), vmin=0, vmax=1, cmap="Blues")
        known = int(cells["active"][0] + cells["mixed"][0])
        axes.axhline(known - 0.5, color="0.3", linewidth=0.8)
        axes.axvline(known - 0.5, color="0.3", linewidth=0.8)
        axes.set(title=f"beta {beta:g}", xlabel="variable, passive ones last", xticks=[], yticks=[])
    figure.colorbar(picture, ax=panels[0].tolist(), label="|correlation|")
    return figure


def draw_sweep(found: Grid) -> Figure:
    """Draw the numbers of variables of each type, and the total correlations, against beta."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
    betas = found.factors["beta"]
    for kind in ("active", "passive", "mixed"):
        left.plot(betas, found[kind].mean(1), "o-", label=kind)
    for name in ("mean", "sampled"):
        right.plot(betas, found[f"TC full, {name}"].mean(1), "o-", label=f"all variables, {name}")
    right.plot(betas, found["TC active, mean"].mean(1), "o--", label="active variables, mean")
    for axes, label in ((left, "variables"), (right, "total correlation, nats")):
        axes.set_xscale("log", base=2)
        axes.set(xlabel="beta", ylabel=label)
        axes.legend()
    return figure
