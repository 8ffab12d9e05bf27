"""Figures of the study of stochastic CCA."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_linear(found: Grid) -> Figure:
    """Draw the share of the exact correlation against passes over the data, one panel a batch size."""
    sizes = found.factors["batch"]
    figure, panels = plt.subplots(1, len(sizes), sharey=True, figsize=(3 * len(sizes), 3), squeeze=False)
    for axes, (size, part) in zip(panels[0], found.by("batch").items(), strict=True):
        for rule, label in (("eckart-young", "Eckart-Young"), ("hebbian", "Hebbian (SGHA)")):
            shares = part.at(rule=rule)["share"]
            mean = shares.mean(1)
            axes.errorbar(found.factors["epochs"], mean, shares.std(1), marker="o", capsize=2, label=label)
        axes.axhline(1, color="0.5", linestyle="--", linewidth=0.8)
        axes.set(xscale="log", xlabel="epochs", title=f"batches of {size}")
        axes.set_xticks(found.factors["epochs"], [str(one) for one in found.factors["epochs"]])
        axes.minorticks_off()
    panels[0, 0].set_ylabel("share of the exact correlation")
    panels[0, -1].legend(loc="lower right")
    return figure


def draw_deep(found: Grid, reference: Grid) -> Figure:
    """Draw the test correlation of deep CCA, one point a seed, with linear CCA's mean as a line."""
    figure, axes = plt.subplots()
    sizes = found.factors["batch"]
    for index, (loss, part) in enumerate(found.by("loss").items()):
        values = part["correlation"]
        places = np.arange(len(sizes)) + 0.12 * (2 * index - 1)
        axes.plot(np.repeat(places, values.shape[1]), values.ravel(), f"C{index}o", label=loss)
    axes.axhline(reference["correlation"].mean(), color="0.5", linestyle="--", linewidth=0.8, label="linear CCA")
    axes.set_xticks(range(len(sizes)), [f"batches of {size}" for size in sizes])
    axes.set(ylabel="test correlation captured, of 10", xlim=(-0.5, len(sizes) - 0.5))
    axes.legend()
    return figure
