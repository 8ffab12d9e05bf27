"""Moon shapes of pools of models, seed by seed, and of parts of the pools."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.core import InvalidInputError
from assay.generalization import MoonShape, accuracy_gap, moon_shape
from assay.generalization.subpopulations import SubgroupAccuracy, balanced_accuracy, mixture_accuracy

FEWEST = 8
"""Models of a stratum that is judged."""

ALIGNED = torch.eye(2, dtype=torch.bool)


def split(right: np.ndarray, count: np.ndarray, majority: Tensor) -> tuple[Tensor, Tensor]:
    """Return the accuracies of models on the majority cells and on the others, labels balanced."""
    cells, samples = torch.from_numpy(right), torch.from_numpy(count)
    return balanced_accuracy(cells, samples, majority), balanced_accuracy(cells, samples, ~majority)


def shape(right: np.ndarray, count: np.ndarray, majority: Tensor, share: float | None = None) -> MoonShape:
    """Return the moon shape of models; with a share, of shifted on in-distribution accuracy."""
    a, b = split(right, count, majority)
    n = int(count[majority.numpy()].sum())
    if share is not None:
        a, b = mixture_accuracy(a, b, share), mixture_accuracy(a, b, 0.5)
    return moon_shape(a, b, n_majority=n, n_minority=int(count.sum()) - n)


def shapes(right: np.ndarray, count: np.ndarray, majority: Tensor, share: float | None = None) -> list[MoonShape]:
    """Return one moon shape a seed; `right` is by model, seed and cell."""
    return [shape(right[:, seed], count, majority, share) for seed in range(right.shape[1])]


def summary(found: Sequence[MoonShape]) -> dict[str, float]:
    """Return means over seeds for a table."""
    figures: Mapping[str, Any] = {
        "R2 line": lambda each: each.fits.r2_linear,
        "R2 parabola": lambda each: each.fits.r2_quadratic,
        "R2 cubic": lambda each: each.fits.r2_cubic,
        "curvature": lambda each: each.fits.curvature,
        "R2 line, probit": lambda each: each.probit.r2_linear,
        "R2 parabola, probit": lambda each: each.probit.r2_quadratic,
        "below the chord": lambda each: each.chord_deviation,
        "knee": lambda each: each.knee.place,
        "slope before": lambda each: each.knee.before,
        "slope after": lambda each: each.knee.after,
        "mean gap": lambda each: float((each.majority - each.minority).mean()),
        "models at 1": lambda each: each.n_ceiling,
    }
    return {name: round(float(np.mean([figure(each) for each in found])), 3) for name, figure in figures.items()}


def below_chord(right: np.ndarray, count: np.ndarray, majority: Tensor) -> list[float] | None:
    """Return the mean deviation below the chord for each seed; None where some seed's models hardly differ."""
    try:
        return [each.chord_deviation for each in shapes(right, count, majority)]
    except InvalidInputError:
        return None


def attribute_gaps(right: np.ndarray, count: np.ndarray, table: Tensor) -> dict[str, float]:
    """Return the gap between attribute values where labels and attributes are mixed as in training, and its parts.

    Args:
        right: Correct answers by model, seed and cell.
        count: Test samples of each cell, all equal.
        table: Training samples of each cell.
    """
    samples = torch.from_numpy(count)
    parts = [
        accuracy_gap(SubgroupAccuracy(cells * table, samples * table, (0, 1), (0, 1)), 1, 0)
        for cells in torch.from_numpy(right).flatten(0, 1)
    ]
    return {
        "gap": float(np.mean([abs(each.gap) for each in parts])),
        "theorem": float(np.mean([abs(each.label_mix) for each in parts])),
        "residual": float(np.mean([abs(each.residual) for each in parts])),
    }


def selection(right: np.ndarray, count: np.ndarray, majority: Tensor, share: float) -> dict[str, np.ndarray]:
    """Return, for each seed, what selection and extrapolation by in-distribution accuracy cost.

    `lost` is how much less minority accuracy the model of the highest in-distribution accuracy has than the best model.
    `error` is the mean absolute error, over the better half of the models, of a line through the other half.
    """
    a, b = split(right, count, majority)
    inside, shifted = mixture_accuracy(a, b, share), mixture_accuracy(a, b, 0.5)
    lost, error = [], []
    for seed in range(a.shape[1]):
        lost.append(float(b[:, seed].max() - b[inside[:, seed].argmax(), seed]))
        order = inside[:, seed].argsort()
        x, y = inside[order, seed].numpy(), shifted[order, seed].numpy()
        half = len(x) // 2
        line = np.polyfit(x[:half], y[:half], 1)
        error.append(float(np.abs(np.polyval(line, x[half:]) - y[half:]).mean()))
    return {"lost": np.array(lost), "error": np.array(error)}
