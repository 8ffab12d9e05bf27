"""Figures of the study of optimisation in double descent."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from assay.lab import Grid
from assay.studies.generalization.double_descent_optimization.settings import Settings

TITLES = {"none": "not normalised", "center": "centred", "standardize": "standardised"}

SHOWN = (100, 1000, 100_000, 10_000_000)


def draw_curves(found: Grid, settings: Settings) -> Figure:
    """Draw training and test loss against width, one line a number of steps, one panel a normalisation."""
    shown = [steps for steps in SHOWN if steps in settings.n_iter] or list(settings.n_iter)
    normalizations = found.factors["normalization"]
    figure, panels = plt.subplots(
        1, len(normalizations), sharey=True, squeeze=False, figsize=(3.2 * len(normalizations), 3.6)
    )
    for axes, name in zip(panels[0], normalizations, strict=True):
        for index, steps in enumerate(shown):
            place = settings.n_iter.index(steps)
            for kind, style in (("test", "-"), ("train", ":")):
                values = np.median(found.at(normalization=name)[f"{kind} loss curve"][:, place], axis=0)
                label = f"{steps:.0e} steps" if kind == "test" else None
                axes.loglog(settings.widths, values, style, color=f"C{index}", label=label)
        axes.axvline(settings.n, color="0.5", linestyle="--", linewidth=0.8)
        axes.set(xlabel="features", title=TITLES[name], ylim=(1e-3, 1e2))
    panels[0][0].set_ylabel("squared error (dotted: training)")
    panels[0][0].legend(fontsize="x-small")
    return figure


def draw_heights(found: Grid, factors: Grid, names: Sequence[str], groups: dict[str, tuple[str, ...]]) -> Figure:
    """Draw the height of the peak against the training loss at the threshold, of all settings."""
    figure, axes = plt.subplots()
    for name in found.factors["normalization"]:
        part = found.at(normalization=name)
        x, y = (np.median(part[key], axis=0) for key in ("train loss", "peak height"))
        axes.plot(
            x, y, "-", color="0.7", linewidth=1, label="gradient descent, 1e2 to 1e8 steps" if name == "none" else None
        )
    seen: set[str] = set()
    for index, (factor, members) in enumerate(groups.items()):
        own = [names.index(name) for name in members if name not in seen]
        seen |= set(members)
        x, y = (np.median(factors[key], axis=0)[own] for key in ("train loss", "peak height"))
        axes.plot(x, y, "os^Dvx"[index], color=f"C{index}", linestyle="none", label=factor)
    axes.axhline(1.5, color="0.5", linestyle=":", linewidth=0.8)
    axes.axvline(0.15, color="0.5", linestyle=":", linewidth=0.8)
    axes.set(
        xscale="log", yscale="log", xlabel="training loss at the threshold / that of zero outputs", ylabel="peak height"
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize="x-small")
    return figure


def draw_networks(nets: Grid, settings: Settings) -> Figure:
    """Draw the test loss of two-layer networks against width after long and short training."""
    figure, axes = plt.subplots()
    for index, name in enumerate(("short", "long")):
        values = nets[f"{name} test loss"]
        steps = {"short": settings.short, "long": settings.long}[name]
        axes.plot(
            settings.net_widths, np.median(values, axis=0), "o-", color=f"C{index}", label=f"{steps} steps of Adam"
        )
        axes.fill_between(settings.net_widths, values.min(0), values.max(0), color=f"C{index}", alpha=0.15, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="hidden units", ylabel="test loss, squared error")
    axes.legend()
    return figure
