"""Summaries of cells: geometric means, rows of the table of networks, rank correlations."""

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from assay.lab import Grid

NETWORKS_CAPTION = (
    "Digits that are fitted by network, geometric means over repeats; undecided: repeats in which training had not "
    "ended at the failure that bounds them; minima: share of failed runs without significantly negative curvature"
)


def row(name: str, cell: dict[str, Any]) -> dict[str, Any]:
    """Return a network's row of the table."""
    failures = cell["original, failures"] + cell["random, failures"]
    return {
        "network": name,
        "parameters": cell["parameters"],
        "original": round(geometric(cell["original"])),
        "censored": int(sum(cell["original, censored"])),
        "random": round(geometric(cell["random"])),
        "undecided": int(sum(cell["original, undecided"]) + sum(cell["random, undecided"])),
        "minima": round((cell["original, minima"] + cell["random, minima"]) / max(1, failures), 2),
        "test error": round(float(np.mean(cell["test error"])), 3),
    }


def geometric(values: Any) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.log(values).mean()))


def correlations(one: np.ndarray, other: np.ndarray) -> list[float]:
    """Return Spearman's correlation over networks for each repeat; 0 where all are equal and have no ranks."""
    return [
        float(np.asarray(spearmanr(a, b))[0]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
        for a, b in zip(one.T, other.T, strict=True)
    ]


def activation_row(name: str, cell: Grid) -> dict[str, Any]:
    """Return an activation's row of the table, of a grid with its cell alone."""
    return {
        "activation": name,
        "fitted": round(geometric(cell["random"])),
        "at the first start": round(float(np.mean(cell["at the first start"]))),
        "undecided repeats": int(cell["random, undecided"].sum()),
    }
