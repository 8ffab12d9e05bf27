"""Figures of the study of training instabilities."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from assay.generalization.instability import LRSweep
from assay.lab import Grid
from assay.studies.generalization.training_instability_proxies.measurements import forecast


def draw_sweeps(sweeps: Grid, lrs: tuple[float, ...]) -> Figure:
    """Draw the loss, and the largest attention logit of the first block, against the learning rate."""
    figure, (losses, logits) = plt.subplots(1, 2, figsize=(9, 3.6))
    for name, found in sweeps.by("recipe").items():
        as_sweep(found, lrs).plot(losses, label=name)
        logits.loglog(lrs, found["max logit"].mean(0), "o-", label=name)
    losses.set(ylabel="final validation loss, nats")
    logits.set(xlabel="learning rate", ylabel="largest attention logit, block 0")
    losses.legend()
    return figure


def draw_effects(effects: Grid, lrs: tuple[float, ...]) -> Figure:
    """Draw the loss against the learning rate under each other intervention."""
    figure, axes = plt.subplots()
    for index, (name, found) in enumerate(effects.by("recipe").items()):
        style = "k-" if name == "qk-layernorm" else f"C{(index - 1) % 5}{'--' if index < 6 else ':'}"
        axes.semilogx(lrs, found["loss"].mean(0), style, label=name)
    axes.set(xlabel="learning rate", ylabel="final validation loss, nats")
    axes.legend(fontsize="small")
    return figure


def draw_forecasts(early: Grid) -> Figure:
    """Draw the largest attention logit against the size, the fit to all but the largest, and its forecast."""
    figure, axes = plt.subplots()
    for index, (lr, found) in enumerate(early.by("lr").items()):
        sizes = found["parameters"].mean(1)
        values = np.exp(np.log(found["max logit"]).mean(1))
        forecast(sizes, values).plot(axes, label=f"learning rate {lr:g}")
        axes.loglog(sizes[-1:], values[-1:], "x", color=f"C{index}", label=f"largest size, learning rate {lr:g}")
    axes.set(xlabel="parameters of the blocks", ylabel="largest attention logit, block 0")
    axes.legend()
    return figure


def as_sweep(found: Grid, lrs: tuple[float, ...]) -> LRSweep:
    """Return the losses of a grid over seeds as a sweep."""
    losses, initial = torch.tensor(found["loss"]), torch.tensor(found["initial loss"])
    return LRSweep(lrs, losses.double(), initial.double())
