"""Curvature of networks trained on blobs, and the loss on lines between networks trained on digits."""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.linalg import subspace_angles
from sklearn.datasets import make_blobs
from torch import nn

from assay.core import NumericalError, cross_entropy, fit, seeded
from assay.data import load
from assay.landscape import (
    PathReport,
    gauss_newton_decomposition,
    gradient_covariance_alignment,
    hessian_spectrum,
    linear_path,
)
from assay.nets import mlp
from assay.studies.landscape.hessian_spectrum.settings import Settings

LINES = ("large to small batch", "two batch orders", "two networks")


def curvature(settings: Settings, classes: int, width: int, seed: int) -> dict[str, Any]:
    """Train a network on blobs to the target loss, and compare its Hessian with the Gauss-Newton matrix."""
    # Centres on the axes are all the same distance apart.
    centres = settings.separation / 2**0.5 * np.eye(classes, settings.features)
    points, labels = make_blobs(settings.samples, centers=centres, random_state=seed)[:2]
    x, y, target = torch.as_tensor(points), torch.as_tensor(labels), settings.target_loss
    model = mlp((settings.features, width, classes), generator=seeded(seed)).double()
    at_start = gradient_covariance_alignment(model, x, y, loss=cross_entropy)
    sgd = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    trained = fit(
        model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.steps, stop=lambda step: step.loss <= target
    )
    if trained.loss > target:
        raise NumericalError(f"training stopped at loss {trained.loss:.3g}: spectra compare at equal loss only")

    report = hessian_spectrum(model, x, y, loss=cross_entropy)
    parts = gauss_newton_decomposition(model, x, y, loss=cross_entropy)
    hessian_values, hessian_vectors = torch.linalg.eigh(parts.hessian)
    newton_values, newton_vectors = torch.linalg.eigh(parts.gauss_newton)
    angles = subspace_angles(hessian_vectors[:, -classes:].numpy(), newton_vectors[:, -classes:].numpy())
    return {
        "eigenvalues": report.eigenvalues,
        "steps": trained.n_iter,
        "parameters": report.n_parameters,
        "bulk fraction": report.bulk_fraction,
        "outliers": report.n_outliers,
        "gap index": report.gap_index,
        "largest": report.lambda_max,
        "negativity": -report.lambda_min / report.lambda_max,
        "median": report.eigenvalues.abs().median().item() / report.lambda_max,
        "Gauss-Newton error": (newton_values[-3:] / hessian_values[-3:] - 1).abs().max().item(),
        "Gauss-Newton angle": float(np.rad2deg(angles.max())),
        "overlap at start": at_start.overlap,
        "overlap at end": gradient_covariance_alignment(model, x, y, loss=cross_entropy).overlap,
    }


def large_then_small(settings: Settings, seed: int) -> dict[str, dict[str, Any]]:
    """Train on all digits at once, go on in small batches, and follow the lines between the solutions."""
    digits = load("digits")
    x, y = digits.x_train[: settings.digits].flatten(1), digits.y_train[: settings.digits]
    sgd = partial(torch.optim.SGD, lr=0.1)

    def go_on(start: nn.Module, order: int) -> nn.Module:
        model = copy.deepcopy(start)
        draws = {"batch_size": settings.small_batch, "generator": seeded(order)}
        fit(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.small_batch_steps, **draws)
        return model

    large = mlp((64, 64, 10), generator=seeded(seed))
    fit(large, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.large_batch_steps)
    small, other = go_on(large, seed), go_on(large, seed + 1)
    independent = go_on(mlp((64, 64, 10), generator=seeded(seed + 2)), seed + 2)
    ends = ((large, small), (small, other), (small, independent))
    return {
        name: describe(linear_path(*pair, x, y, loss=cross_entropy)) for name, pair in zip(LINES, ends, strict=True)
    }


def describe(line: PathReport) -> dict[str, Any]:
    """Return the losses on a line, and where they rise above those at its ends."""
    losses = line.losses
    return {
        "losses": losses,
        "loss at start": losses[0].item(),
        "highest loss": losses.max().item(),
        "loss at end": losses[-1].item(),
        "largest rise": losses.diff().max().item(),
        "peak over worse end": (losses.max() / losses[[0, -1]].max()).item(),
        "distance": line.distance,
    }
