"""Figures of the study of gradient coherence."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_traces(found: Grid) -> Figure:
    """Draw m-coherence and training accuracy against epochs, on true and on random labels."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.0, 5.0), height_ratios=(2, 1))
    for index, labels in enumerate(found.factors["labels"]):
        cells = found.at(labels=labels)
        for axes, key in ((above, "trace"), (below, "accuracy trace")):
            values = np.asarray(cells[key])
            epochs = np.arange(values.shape[1])
            axes.plot(epochs, values.T, f"C{index}", linewidth=0.7, alpha=0.4)
            axes.plot(epochs, values.mean(0), f"C{index}", linewidth=1.6, label=f"{labels} labels")
    above.axhline(1, color="0.5", linestyle="--", linewidth=0.8)
    above.set(ylabel="m-coherence", yscale="log", xscale="symlog", xlim=(0, None))
    below.set(xlabel="epochs", ylabel="training accuracy")
    above.legend()
    return figure


def draw_robust(found: Grid, names: dict[str, str]) -> Figure:
    """Draw test accuracy against epochs for each optimiser on labels of which half are permuted."""
    figure, axes = plt.subplots()
    for index, (arm, name) in enumerate(names.items()):
        values = np.asarray(found.at(arm=arm)["test trace"])
        epochs = np.arange(1, values.shape[1] + 1)
        axes.plot(epochs, values.mean(0), f"C{index}", label=name)
        axes.fill_between(epochs, values.min(0), values.max(0), color=f"C{index}", alpha=0.15, linewidth=0)
    axes.set(xlabel="epochs", ylabel="test accuracy", xscale="log")
    axes.legend()
    return figure
