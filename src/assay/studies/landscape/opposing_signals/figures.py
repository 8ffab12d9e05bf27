"""Figures of the study of opposing signals."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_spike(cell: dict[str, Any]) -> Figure:
    """Draw the loss of the linear model and its weight on the outliers' feature, in steps beyond the edge."""
    figure, axes = plt.subplots(2, 1, sharex=True)
    steps = np.arange(len(cell["loss"]))[:120]
    axes[0].semilogy(steps, np.asarray(cell["loss"])[:120], color="k")
    axes[0].set(ylabel="loss")
    axes[1].plot(steps, np.asarray(cell["opposing"])[:120], color="C3", linewidth=0.8)
    axes[1].set(xlabel="step", ylabel="weight on the feature", yscale="symlog")
    axes[1].set_yscale("symlog", linthresh=1e-3)
    return figure


def draw_antiphase(cell: dict[str, Any]) -> Figure:
    """Draw the loss of each planted group and of all samples, around the largest rise of the loss."""
    figure, axes = plt.subplots()
    total = np.asarray(cell["all"])
    centre = int(np.diff(total).argmax())
    start, stop = max(0, centre - 30), min(len(total), centre + 30)
    steps = np.arange(start, stop)
    for key, style in (("group A", "C3-"), ("group B", "C0-"), ("all", "k--")):
        axes.plot(steps, np.asarray(cell[key])[start:stop], style, linewidth=1, label=key)
    axes.set(xlabel="step", ylabel="mean loss", yscale="log")
    axes.legend()
    return figure


def draw_sharpness(found: Grid) -> Figure:
    """Draw the sharpness of the linear model along gradient flow, one line a seed."""
    figure, axes = plt.subplots()
    for time, values in zip(found["time"], found["flow sharpness"], strict=True):
        axes.plot(time, values, linewidth=1)
    axes.set(xlabel="time", ylabel="sharpness", xlim=(0, 3))
    return figure
