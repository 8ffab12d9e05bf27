"""Curves of random features in closed form, exact identities, and procedures compared at the threshold."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.core import seeded, spawn_seeds
from assay.generalization.double_descent import (
    DoubleDescentCurve,
    FeatureModes,
    GradientDescent,
    LeastSquares,
    RandomFeatureModel,
    RandomFeatures,
    double_descent_curve,
    find_peak,
    gradient_descent_path,
)
from assay.studies.generalization.double_descent_optimization.problems import CLASSES, Problem, draw_problem
from assay.studies.generalization.double_descent_optimization.settings import Settings

NORMALIZATIONS = ("none", "center", "standardize")

PROCEDURES = {
    "GD, lr 0.01/L": (0.01, 0.0),
    "GD, lr 1/L": (1.0, 0.0),
    "momentum 0.99, lr 0.1/L": (0.1, 0.99),
    "momentum 0.99, lr 1/L": (1.0, 0.99),
    "exact solution": (0.0, 0.0),
}
"""Learning rate in units of 1 / lambda_max and momentum, from the slowest to the fastest."""


def exact_identities(settings: Settings, width: int) -> dict[str, float]:
    """Compare the closed form with steps, with half the learning rate, and in the limit with NumPy's least squares."""
    x, y, _, _ = draw_problem("digits", settings.n, 0)
    phi = torch.from_numpy(RandomFeatures(width, random_state=0).fit_transform(x.numpy()))
    targets = torch.nn.functional.one_hot(y, CLASSES).double()
    init = torch.randn(width, CLASSES, generator=seeded(0), dtype=torch.float64)
    modes = FeatureModes.of(phi)
    top = modes.eigenvalues[0].item()
    weights = init
    for _ in range(200):
        weights = weights - phi.T @ (phi @ weights - targets) / (settings.n * top)
    (closed,) = gradient_descent_path(phi, targets, n_iter=(200,), init=init)
    slow, fast = (
        phi @ gradient_descent_path(phi, targets, n_iter=(steps,), lr=rate / top)[0]
        for steps, rate in ((2000, 0.01), (1000, 0.02))
    )
    (limit,) = gradient_descent_path(phi, targets, n_iter=(math.inf,))
    solved = torch.from_numpy(np.linalg.lstsq(phi.numpy(), targets.numpy(), rcond=1e-6)[0])
    return {
        "closed form": (closed - weights).abs().max().item(),
        "halved": ((slow - fast).norm() / fast.norm()).item(),
        "limit": ((limit - solved).norm() / solved.norm()).item(),
    }


def descent_curves(settings: Settings, normalization: str, seed: int) -> dict[str, Any]:
    """Return the figures of one curve for each number of steps of gradient descent at 1 / lambda_max."""
    problem = draw_problem("digits", settings.n, seed)
    each = [
        [descend(problem, normalization, width, draw, settings) for width in settings.widths]
        for draw in spawn_seeds(seed, settings.draws)
    ]
    stacked = {name: torch.stack([torch.stack([cell[name] for cell in row]) for row in each]) for name in each[0][0]}
    threshold = settings.n if normalization == "none" else settings.n - 1
    found: dict[str, list[Any]] = {}
    for place in range(len(settings.n_iter)):
        losses = {name: stacked[name][..., place] for name in ("train_loss", "test_loss", "test_error")}
        figures = {name: stacked[name] for name in ("zero_loss", "condition_number")}
        curve = DoubleDescentCurve(settings.widths, threshold=float(threshold), **losses, **figures)
        for name, value in summary(curve).items():
            found.setdefault(name, []).append(value)
    return found


def descend(problem: Problem, normalization: str, width: int, draw: int, settings: Settings) -> dict[str, Tensor]:
    """Return losses after each number of steps, of one draw of features."""
    x, y, x_test, y_test = problem
    kind: Any = None if normalization == "none" else normalization
    features = RandomFeatures(width, normalization=kind, random_state=draw).fit(x.numpy())
    phi, phi_test = (torch.from_numpy(features.transform(inputs.numpy())) for inputs in (x, x_test))
    targets, wanted = (torch.nn.functional.one_hot(labels, CLASSES).double() for labels in (y, y_test))
    mean = targets.mean(0) if kind else torch.zeros(CLASSES, dtype=torch.float64)
    modes = FeatureModes.of(phi)
    share = modes.fitted_share(lr=1 / modes.eigenvalues[0].item(), n_iter=settings.n_iter)
    weights = modes.weights(targets - mean, share)
    outputs = phi_test @ weights + mean
    return {
        "train_loss": (phi @ weights + mean - targets).square().sum(2).mean(1),
        "test_loss": (outputs - wanted).square().sum(2).mean(1),
        "test_error": (outputs.argmax(2) != y_test).double().mean(1),
        "zero_loss": targets.square().sum(1).mean(),
        "condition_number": torch.tensor(modes.condition_number),
    }


def summary(curve: DoubleDescentCurve) -> dict[str, Any]:
    """Return what the study reads off a curve."""
    error = curve.error_peak
    return {
        "peak height": curve.peak_height,
        "peak": float(curve.peak.present),
        "error peak height": 0.0 if error is None else error.height,
        "train loss": curve.threshold_train_loss,
        "low loss": float(curve.low_loss),
        "condition number": curve.at("condition_number") or 0.0,
        "test loss curve": curve.test_loss.median(0).values.tolist(),
        "train loss curve": curve.train_loss.median(0).values.tolist(),
    }


def procedure_losses(settings: Settings, procedure: str, seed: int) -> dict[str, float]:
    """Train centred features by one procedure, and return losses at the threshold and at the largest width."""
    rate, momentum = PROCEDURES[procedure]
    trained = GradientDescent(settings.procedure_iter, rate, momentum) if rate else LeastSquares()
    curve = double_descent_curve(
        *draw_problem("digits", settings.n, seed),
        train=RandomFeatureModel(trained, normalization="center"),
        widths=(settings.n // 2, settings.n, settings.widths[-1]),
        n_seeds=settings.draws,
        generator=seeded(seed),
    )
    train, test = (values.median(0).values for values in (curve.train_loss / curve.zero_loss, curve.test_loss))
    return {
        "train loss at the threshold": train[1].item(),
        "test loss at the threshold": test[1].item(),
        "train loss at the largest width": train[2].item(),
        "test loss at the largest width": test[2].item(),
        "effective condition number": curve.at("effective_condition_number") or 0.0,
        "effective modes": curve.at("effective_modes") or 0.0,
    }


def height_anywhere(curve: DoubleDescentCurve) -> dict[str, float]:
    """Return the highest local maximum of the test loss and of the test error; a height of 1 where there is none."""
    found = {}
    for name, values in (("loss", curve.test_loss), ("error", curve.test_error)):
        if values is None:
            continue
        peak = find_peak(curve.widths, values.median(0).values)
        found |= {f"{name} peak height": peak.height if peak.is_interior else 1.0, f"{name} peak": float(peak.present)}
    return found
