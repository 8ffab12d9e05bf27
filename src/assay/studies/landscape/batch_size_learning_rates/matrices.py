"""Extreme eigenvalues of spiked random matrices beside the formulas."""

import math
from typing import Any, Literal

import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from assay.core import seeded
from assay.landscape import batch_hessian_extremes
from assay.landscape.learning_rates import batch_gauss_newton_extremes
from assay.studies.landscape.batch_size_learning_rates.settings import Settings

End = Literal["largest", "smallest"]

SPIKES: dict[End, float] = {"largest": 5.0, "smallest": -4.0}  # eigenvalues of the full matrix that are not zero
HIDDEN = (1.0, 200)  # an eigenvalue below the threshold, and its effective batch size
POPULATION = 10.0  # eigenvalue above a bulk at 1 of the covariance model
BELOW = 1.2  # one below the threshold at every ratio of P to b that is tried


def additive(settings: Settings, seed: int) -> dict[str, Any]:
    """Compare extreme eigenvalues of a spiked matrix in symmetric Gaussian noise with the formula."""
    source, found = seeded(seed), torch.zeros(settings.draws, 2, len(settings.matrix_batches), dtype=torch.float64)
    hidden, p, sizes = 0.0, settings.size, settings.matrix_batches
    for draw in range(settings.draws):
        upper = torch.randn(p, p, generator=source, dtype=torch.float64).triu()
        noise = upper + upper.T - upper.diag().diag() + (math.sqrt(2) - 1) * upper.diag().diag()
        for place, b in enumerate(sizes):
            for end, name in enumerate(SPIKES):
                found[draw, end, place] = _extreme(_spiked(noise / math.sqrt(b), *SPIKES.values()), name)
        hidden += _extreme(_spiked(noise / math.sqrt(HIDDEN[1]), HIDDEN[0], 0.0), "largest") / settings.draws
    formula = torch.tensor(
        [[batch_hessian_extremes(full, p / b, end=end) for b in sizes] for end, full in SPIKES.items()]
    )
    errors = (found.mean(0) / formula - 1).abs()
    return {
        "means": found.mean(0),
        "formula": formula,
        "largest": errors[0].max().item(),
        "smallest": errors[1].max().item(),
        "hidden": abs(hidden / batch_hessian_extremes(HIDDEN[0], p / HIDDEN[1]) - 1),
    }


def _spiked(noise: Tensor, first: float, last: float) -> Tensor:
    matrix = noise.clone()
    matrix[0, 0] += first
    matrix[-1, -1] += last
    return matrix


def _extreme(matrix: Tensor, end: str) -> float:
    which = "LA" if end == "largest" else "SA"
    start = torch.ones(len(matrix), dtype=matrix.dtype).numpy()
    found = eigsh(matrix.numpy(), k=1, which=which, tol=1e-4, v0=start, return_eigenvectors=False)  # pyright: ignore[reportArgumentType]
    return float(found[0])


def covariance(settings: Settings, ratio: float, seed: int) -> dict[str, float]:
    """Compare the largest eigenvalue of a spiked sample covariance with the formula, above and below the threshold."""
    source, p = seeded(seed), settings.size
    b = round(p / ratio)
    means = {POPULATION: 0.0, BELOW: 0.0}
    for _ in range(settings.draws):
        x = torch.randn(b, p, generator=source)
        gram = (x @ x.T if b < p else x.T @ x) / b
        raised = _between_samples if b < p else _between_features
        for spike in means:
            means[spike] += _extreme(raised(gram, x[:, 0], spike), "largest") / settings.draws
    formulas = {spike: batch_gauss_newton_extremes(spike, 1.0, p / b) for spike in means}
    return {
        "mean": means[POPULATION],
        "formula": formulas[POPULATION],
        "above": abs(means[POPULATION] / formulas[POPULATION] - 1),
        "below": abs(means[BELOW] / formulas[BELOW] - 1),
    }


def _between_samples(gram: Tensor, first: Tensor, spike: float) -> Tensor:
    """Return the products of samples with each other, with the variance of the first feature raised from one."""
    return gram + (spike - 1) / len(first) * torch.outer(first, first)


def _between_features(gram: Tensor, first: Tensor, spike: float) -> Tensor:
    """Return the covariance with the variance of the first feature raised from one."""
    del first
    scale = torch.ones(len(gram))
    scale[0] = math.sqrt(spike)
    return scale[:, None] * gram * scale
