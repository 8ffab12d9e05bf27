"""Figures of the study of diffusion spectral entropy."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid
from assay.studies.representation.diffusion_spectral_entropy.settings import Settings

METHODS = ("truth", "DSMI", "MINE", "kNN", "CSMI")


def draw_signals(settings: Settings, toy: Grid) -> Figure:
    """Draw both entropies against the dimensions that hold signal, one line a noise."""
    figure, axes = plt.subplots()
    for number, (noise, found) in enumerate(toy.by("noise").items()):
        axes.plot(settings.signals, found["entropy"].mean(0), f"C{number}o-", label=f"diffusion, noise {noise:g}")
    axes.plot(settings.signals, toy["binned"].mean((0, 1)), "k--", label="2 bins a dimension, any noise")
    axes.set(xlabel=f"dimensions with signal, of {settings.toy_dim}", ylabel="entropy (bits)")
    axes.legend()
    return figure


def draw_blobs(settings: Settings, blobs: Grid) -> Figure:
    """Draw the estimates of information against the share of shuffled labels, one panel a dimension."""
    figure, panels = plt.subplots(1, len(settings.blob_dims), figsize=(9, 3.2), sharey=True, layout="constrained")
    for axes, (dim, found) in zip(np.atleast_1d(panels), blobs.by("dim").items(), strict=True):
        for number, name in enumerate(METHODS):
            style = "k--" if name == "truth" else f"C{number - 1}o-"
            axes.plot(settings.corruptions, found[name].mean(0), style, label=name, markersize=3)
        axes.set(title=f"{dim} dimensions", xlabel="share of labels shuffled")
    first = np.atleast_1d(panels)[0]
    first.set_ylabel("information on the label (bits)")
    first.legend()
    return figure


def draw_training(epochs: list[int], true: Grid, random: Grid) -> Figure:
    """Draw entropy and information over epochs, at a fixed bandwidth above and without scale below."""
    figure, rows = plt.subplots(2, 2, figsize=(8, 5.5), sharex=True, layout="constrained")
    names = (("entropy", "information"), ("scale-free entropy", "scale-free information"))
    for panels, pair in zip(rows, names, strict=True):
        for axes, name in zip(panels, pair, strict=True):
            for number, (label, found) in enumerate((("true labels", true), ("random labels", random))):
                values = found[name].reshape(-1, found[name].shape[-1])
                axes.plot(epochs[: values.shape[1]], values.mean(0), f"C{number}o-", label=label, markersize=3)
            axes.set(xscale="symlog", ylabel="bits", title=f"{name}{'' if 'scale' in name else ', bandwidth 10'}")
    rows[0, 0].legend()
    for axes in rows[1]:
        axes.set_xlabel("epoch")
    return figure


def draw_inputs(epochs: list[int], data: Grid) -> Figure:
    """Draw the information on the input over epochs, one line a data set."""
    figure, axes = plt.subplots()
    for name, found in data.by("source").items():
        values = found["on the input"].reshape(-1, found["on the input"].shape[-1])
        axes.plot(epochs[: values.shape[1]], values.mean(0), "o-", label=name)
    axes.set(xscale="symlog", xlabel="epoch", ylabel="information on the input (bits)")
    axes.legend()
    return figure
