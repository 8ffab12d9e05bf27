"""Figures and tables of certified watermarks."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from assay.lab.grid import Grid
from assay.lab.plots import curves
from assay.lab.tables import summarise
from assay.studies.privacy.certified_watermark.attacks import blind_attacks, confined_attacks
from assay.studies.privacy.certified_watermark.cells import DISTANCES
from assay.studies.privacy.certified_watermark.settings import Settings


def draw_certificates(settings: Settings, networks: Grid, tries: Grid) -> Figure:
    """Draw the bounds of each kind of watermark, and the medians that attacks within them reached."""
    bounds = {kind: each["bounds"] for kind, each in networks.by("watermark").items()}
    distances = settings.sigma * np.array(DISTANCES)
    figure = curves(distances, bounds, xlabel="distance of the parameters", ylabel="smoothed trigger accuracy")
    medians = tries["median"].ravel()
    figure.axes[0].plot(tries["distance"].ravel(), medians, "k.", markersize=3, alpha=0.4)
    figure.axes[0].set_ylim(-0.03, 1.03)
    return figure


def draw_unlearning(settings: Settings, plain: Grid, smoothed: Grid) -> Figure:
    """Draw the trigger accuracy that unlearning leaves of both watermarks."""
    left = {"plain": plain["after unlearning"], "smoothed": smoothed["after unlearning"]}
    figure = curves(settings.budgets, left, xlabel="distance allowed", ylabel="trigger accuracy")
    figure.axes[0].set_ylim(-0.03, 1.03)
    return figure


def removal_rows(settings: Settings, plain: Grid, smoothed: Grid) -> list[dict[str, Any]]:
    """Return a row for each watermark after each attack without knowledge of the triggers, and one for the gain."""
    columns = ("distance", "test accuracy", "trigger accuracy", "median under noise")
    values = {
        "plain": {column: plain[column] for column in columns},
        "smoothed": {column: smoothed[column] for column in columns},
        "smoothed less plain": {column: smoothed[column] - plain[column] for column in columns},
    }
    return [
        {"attack": attack, "watermark": kind} | {column: summarise(found[column][:, place]) for column in columns}
        for place, attack in enumerate(blind_attacks(settings))
        for kind, found in values.items()
    ]


def try_rows(settings: Settings, tries: Grid) -> list[dict[str, Any]]:
    """Return a row for each attack within certified distances that found bounds to break."""
    rows = []
    for place, attack in enumerate(confined_attacks(settings, budget=1.0)):
        bound, median, broken = (tries[name][..., place] for name in ("bound", "median", "broken"))
        tried = bound > 0
        if tried.any():
            rows.append(
                {
                    "attack": attack,
                    "bounds tried": int(tried.sum()),
                    "broken": int(broken.sum()),
                    "least median": round(float(median[tried].min()), 3),
                    "least slack": round(float((median - bound)[tried].min()), 3),
                }
            )
    return rows
