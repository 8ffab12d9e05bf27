"""Figures and table of the unlearning study."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.studies.privacy.unlearning_logit_difference.outcomes import (
    ALPHAS,
    BASELINES,
    ENOUGH,
    Cell,
    Checkpoint,
    at_one,
)

TRADEOFF_CAPTION = (
    "What is kept of the unseen facts against what is left of the forget facts: every checkpoint of the baselines, and "
    "the logit difference from alpha 0 to 1.5, all worlds."
)
ALPHA_CAPTION = (
    "Against alpha: the accuracy in each part, mean over the worlds, and the forget quality in each world. "
    "A quality below the dotted line, 0.05, tells the model from one that never saw the forget facts."
)


def draw_tradeoff(cells: list[Cell]) -> Figure:
    """Draw all checkpoints of all methods."""
    figure, axes = plt.subplots()
    for name in BASELINES:
        looks = [look for cell in cells for run in cell["baselines"][name] for look in run]
        axes.plot([k["forget"] for k in looks], [k["unseen"] for k in looks], ".", alpha=0.5, label=name)
    looks = [look for cell in cells for look in cell["curve"]]
    axes.plot([k["forget"] for k in looks], [k["unseen"] for k in looks], "k^", label="logit difference")
    axes.set(xlabel="accuracy on forget facts", ylabel="accuracy on unseen facts")
    axes.legend()
    return figure


def draw_alpha(cells: list[Cell]) -> Figure:
    """Draw what each alpha leaves, and what the truth ratios tell."""
    figure, (accuracy, quality) = plt.subplots(1, 2)
    for part in ("forget", "retain", "unseen"):
        means = np.mean([[look[part] for look in cell["curve"]] for cell in cells], axis=0)
        accuracy.plot(ALPHAS, means, marker="o", label=f"{part} facts")
    accuracy.set(xlabel="alpha", ylabel="accuracy")
    accuracy.legend()
    for cell in cells:
        quality.plot(ALPHAS, [look["forget quality"] for look in cell["curve"]], "o-", color="C5", markersize=3)
    quality.axhline(0.05, color="C5", linestyle=":")
    quality.set(xlabel="alpha", ylabel="forget quality (p-value)", yscale="log")
    return figure


def rows(cells: list[Cell]) -> list[dict[str, Any]]:
    """Return one row a method."""
    columns = ("forget", "retain", "unseen", "utility", "forget loss", "forget quality")
    shown = {
        "target": [cell["target"] for cell in cells],
        "trained without the forget facts": [cell["retrained"] for cell in cells],
        "logit difference": [at_one(cell) for cell in cells],
        **{name: [best_checkpoint(cell, name) for cell in cells] for name in BASELINES},
    }
    return [
        {"method": name, **{column: float(np.mean([end[column] for end in ends])) for column in columns}}
        for name, ends in shown.items()
    ]


def best_checkpoint(cell: Cell, name: str) -> Checkpoint:
    """Return the checkpoint that keeps most among those that forgot enough, or else the one that forgot most."""
    looks = [look for run in cell["baselines"][name] for look in run]
    enough = [look for look in looks if look["forget"] <= ENOUGH]
    return max(enough, key=lambda look: look["unseen"]) if enough else min(looks, key=lambda look: look["forget"])
