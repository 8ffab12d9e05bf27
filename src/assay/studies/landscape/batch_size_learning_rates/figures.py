"""Figures of the study of learning rates by batch size."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid, plots


def draw_ceilings(rates: Grid, damped: Grid, predicted: Grid, sizes: tuple[int, ...]) -> Figure:
    """Draw the largest stable rate of each optimiser against the batch size, with the range over seeds."""
    figure, axes = plt.subplots()
    found = {name: part["stable"] for name, part in [*rates.by("optimizer").items(), *damped.by("optimizer").items()]}
    for color, (name, log_rates) in enumerate(found.items()):
        kept = sizes[: len(log_rates)]
        axes.loglog(kept, 2 ** log_rates.mean(1), f"C{color}o-", label=name)
        axes.fill_between(kept, 2 ** log_rates.min(1), 2 ** log_rates.max(1), color=f"C{color}", alpha=0.2, linewidth=0)
    for kind, name, style in (("fit", "SGD, by the fit", "--"), ("iid", "SGD, by independent noise", ":")):
        axes.loglog(sizes, 2 ** predicted[kind].mean(0), f"C0{style}", linewidth=1, label=name)
    axes.set(xlabel="batch size", ylabel="largest stable learning rate")
    axes.legend()
    return figure


def draw_inflation(found: Grid) -> Figure:
    """Draw the largest eigenvalue on batches over that of all samples, against the batch size."""
    figure, axes = plt.subplots()
    sizes = np.asarray(found.factors["batch"])
    for color, (name, part) in enumerate(found.by("matrix").items()):
        label = {"hessian": "Hessian", "gauss_newton": "Gauss-Newton matrix"}[name]
        ratio = part["mean"] / part["full"]
        axes.loglog(sizes, ratio.mean(1), f"C{color}o-", label=label)
        axes.fill_between(sizes, ratio.min(1), ratio.max(1), color=f"C{color}", alpha=0.2, linewidth=0)
        iid = 1 + part["iid excess"] / part["full"]
        axes.loglog(sizes, iid.mean(1), f"C{color}:", linewidth=1, label=f"{label}, by independent noise")
    axes.set(xlabel="batch size", ylabel="largest eigenvalue over that of all samples")
    axes.legend()
    return figure


def draw_learner(learnt: Grid, n: int) -> Figure:
    """Draw the training loss of the learner and of the best hand-tuned rate, up to the steps of the latter."""
    steps = np.arange(5, n + 1, 5)
    curves = {"Lanczos learner": learnt["learner"][:, : len(steps)], "best of five rates": learnt["tuned"]}
    return plots.curves(steps, curves, xlabel="steps", ylabel="training loss", log="y")
