"""Figures of the unlearning study, over all worlds."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from assay.lab import Grid
from assay.studies.privacy.unlearning_logit_difference.cells import ALPHAS, BASELINES


def draw_tradeoff(worlds: Grid) -> Figure:
    """Draw all checkpoints of all methods."""
    figure, axes = plt.subplots()
    for name in (*BASELINES, "logit difference"):
        look = "." if name in BASELINES else "k^"
        axes.plot(worlds[f"{name}: forget"].ravel(), worlds[f"{name}: unseen"].ravel(), look, alpha=0.5, label=name)
    axes.set(xlabel="accuracy on forget facts", ylabel="accuracy on unseen facts")
    axes.legend()
    return figure


def draw_alpha(worlds: Grid) -> Figure:
    """Draw what each alpha leaves, and what the truth ratios tell."""
    figure, (accuracy, quality) = plt.subplots(1, 2)
    for part in ("forget", "retain", "unseen"):
        accuracy.plot(ALPHAS, worlds[f"logit difference: {part}"].mean(0), marker="o", label=f"{part} facts")
    accuracy.set(xlabel="alpha", ylabel="accuracy")
    accuracy.legend()
    quality.plot(ALPHAS, worlds["logit difference: forget quality"].T, "o-", color="C5", markersize=3)
    quality.axhline(0.05, color="C5", linestyle=":")
    quality.set(xlabel="alpha", ylabel="forget quality (p-value)", yscale="log")
    return figure
