"""Figures of the study of explanation disparities."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.core import mean_interval
from assay.lab import Grid

PROPERTIES = {
    "sample": "share of group 0 in training",
    "covariate": "threshold t",
    "concept": r"$\beta$ (1.5: no shift)",
    "variable": r"$\alpha$, effect of C",
}
KINDS = {"network": "network", "linear": "linear model"}


def draw_gaps(found: Mapping[str, Grid], levels: Mapping[str, tuple[float, ...]]) -> Figure:
    """Draw the residual gap at each level of each experiment, and that of shuffled groups."""
    columns = 3
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, figsize=(8, 2.8 * rows), layout="constrained")
    for ax in axes.flat[len(found) :]:
        ax.set_visible(False)
    for ax, (name, grid) in zip(axes.flat, found.items(), strict=False):
        places = np.arange(len(levels[name]))
        for offset, (kind, label) in zip((-0.08, 0.08), KINDS.items(), strict=True):
            gaps = grid[f"{kind} residual gap"]
            intervals = [mean_interval(column.tolist()) for column in gaps.T]
            means = np.asarray([each.mean for each in intervals])
            reach = [[each.mean - each.low for each in intervals], [each.high - each.mean for each in intervals]]
            (line, *_) = ax.errorbar(places + offset, means, yerr=reach, fmt="o", capsize=3, label=label)
            shuffled = grid[f"{kind} shuffled residual gap"].mean(0)
            marker = {"marker": "_", "s": 120, "color": line.get_color(), "alpha": 0.6}
            ax.scatter(places + offset, shuffled, label=f"{label}, shuffled groups", **marker)
        ax.set_xticks(places, [f"{level:g}" for level in levels[name]])
        ax.set_title(name, fontsize=9)
        ax.set_xlabel(PROPERTIES[name.split()[0]], fontsize=8)
        ax.set_xlim(-0.5, len(places) - 0.5)
        ax.set_ylim(bottom=0)
    for ax in axes[:, 0]:
        ax.set_ylabel("residual gap")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure
