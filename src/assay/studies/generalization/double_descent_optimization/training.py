"""Factors of training, two-layer networks, and training as it is ordinarily done."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from assay.core import seeded
from assay.generalization.double_descent import (
    AdamDescent,
    GradientDescent,
    LeastSquares,
    RandomFeatureModel,
    StochasticGradientDescent,
    TrainFunction,
    TwoLayerModel,
    double_descent_curve,
    factor_study,
)
from assay.studies.generalization.double_descent_optimization.cells import height_anywhere
from assay.studies.generalization.double_descent_optimization.problems import draw_problem
from assay.studies.generalization.double_descent_optimization.settings import Settings

FACTORS = {
    "learning rate": ("lr 0.01", "lr 0.1", "base"),
    "steps": ("steps / 100", "base", "steps x 100", "steps x 10000"),
    "normalisation": ("not normalised", "base", "standardised"),
    "optimiser": ("base", "momentum 0.9", "momentum 0.99", "Adam", "exact"),
    "batch size": ("batch 10", "batch 50", "lr 0.1", "batch 10, decaying"),
    "initialisation": ("base", "init 1", "init 10"),
}
"""Settings that differ in one factor."""

SETTINGS = tuple(dict.fromkeys(name for names in FACTORS.values() for name in names))

ARMS: dict[str, Any] = {
    "batch 20": {"batch_size": 20},
    "init x 0.1": {"init_scale": 0.1},
    "init x 3": {"init_scale": 3},
}

PRACTICES = ("Adam", "SGD with momentum", "random features, 1000 steps")

DESIGNED = "random features, exact solution"


def settings_of_training(n_iter: int) -> dict[str, RandomFeatureModel]:
    """Return each setting: the base, centred features and steps of 1 / lambda_max, with one thing changed."""
    base = RandomFeatureModel(GradientDescent(n_iter), normalization="center")
    procedures: dict[str, Any] = {
        "base": GradientDescent(n_iter),
        "lr 0.01": GradientDescent(n_iter, 0.01),
        "lr 0.1": GradientDescent(n_iter, 0.1),
        "steps / 100": GradientDescent(n_iter // 100),
        "steps x 100": GradientDescent(n_iter * 100),
        "steps x 10000": GradientDescent(n_iter * 10_000),
        "momentum 0.9": GradientDescent(n_iter, momentum=0.9),
        "momentum 0.99": GradientDescent(n_iter, momentum=0.99),
        "Adam": AdamDescent(n_iter, lr=0.01),
        "exact": LeastSquares(),
        "batch 10": StochasticGradientDescent(n_iter, 10, 0.1),
        "batch 50": StochasticGradientDescent(n_iter, 50, 0.1),
        "batch 10, decaying": StochasticGradientDescent(n_iter, 10, 0.1, cosine=True),
    }
    return {name: replace(base, procedure=procedure) for name, procedure in procedures.items()} | {
        "not normalised": replace(base, normalization=None),
        "standardised": replace(base, normalization="standardize"),
        "init 1": replace(base, init_scale=1.0),
        "init 10": replace(base, init_scale=10.0),
    }


def factors(settings: Settings, seed: int) -> dict[str, Any]:
    """Vary one factor of training at a time, on one training set."""
    models = settings_of_training(settings.factor_iter)
    study = factor_study(
        *draw_problem("digits", settings.factor_n, seed),
        settings={name: models[name] for name in SETTINGS},
        widths=settings.factor_widths,
        n_seeds=settings.factor_draws,
        generator=seeded(seed),
    )
    rows = study.rows()
    columns = ("train loss", "peak height", "error peak", "condition number", "effective condition number")
    found = {name: [float(row[name]) for row in rows] for name in (*columns, "effective modes", "peak")}
    low = [float(curve.low_loss) for curve in study.curves.values()]
    return found | {"low loss": low, "correlation": study.correlation, "table": study.contingency}


def two_layers(settings: Settings, seed: int) -> dict[str, Any]:
    """Train networks of two layers for long and for short, and compare their excess at the threshold."""
    return compare_lengths(settings, seed, {})


def two_layers_arm(settings: Settings, arm: str, seed: int) -> dict[str, Any]:
    """Train networks of two layers with other batches or initial weights."""
    return compare_lengths(settings, seed, ARMS[arm])


def compare_lengths(settings: Settings, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the test loss at the threshold less that at the largest width, after long and short training.

    The threshold is the width whose number of parameters is nearest to that of the targets, 10 n.
    """
    problem, found = draw_problem("digits", settings.n, seed), {}
    parameters = [width * (problem[0].shape[1] + 11) + 10 for width in settings.net_widths]
    nearest = min(range(len(parameters)), key=lambda place: abs(parameters[place] - 10 * settings.n))
    for name, n_iter in (("long", settings.long), ("short", settings.short)):
        train = TwoLayerModel(n_iter, **options)
        curve = double_descent_curve(
            *problem, train=train, widths=settings.net_widths, n_seeds=1, generator=seeded(seed)
        )
        test, error = curve.test_loss[0], curve.test_error
        found |= {
            f"{name} excess": (test[nearest] - test[-1]).item(),
            f"{name} train loss": (curve.train_loss[0, nearest] / curve.zero_loss[0, nearest]).item(),
            f"{name} peak height": height_anywhere(curve)["loss peak height"],
            f"{name} error peak height": height_anywhere(curve)["error peak height"],
            f"{name} test loss": test.tolist(),
            f"{name} test error": [] if error is None else error[0].tolist(),
        }
    return found


def practice(settings: Settings, data: str, recipe: str, seed: int) -> dict[str, float]:
    """Train one model family as it is ordinarily done, on clean labels, and look for a peak at any width."""
    n_iter = settings.practice_epochs * -(-settings.practice_n // 32)
    adam, sgd = partial(torch.optim.Adam, lr=1e-3), partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    models: dict[str, tuple[TrainFunction, int]] = {
        "Adam": (TwoLayerModel(n_iter, adam, batch_size=32), 1),
        "SGD with momentum": (TwoLayerModel(n_iter, sgd, batch_size=32), 1),
        "random features, 1000 steps": (RandomFeatureModel(GradientDescent(1000)), 10),
        DESIGNED: (RandomFeatureModel(LeastSquares()), 10),
    }
    train, scale = models[recipe]
    widths = sorted(
        {scale * width for width in settings.practice_widths} | ({settings.practice_n} if scale > 1 else set())
    )
    x, y, x_test, y_test = draw_problem(data, settings.practice_n, seed, noise=0.0)
    if scale == 1:
        x, x_test = x.float(), x_test.float()
    curve = double_descent_curve(x, y, x_test, y_test, train=train, widths=widths, n_seeds=1, generator=seeded(seed))
    return height_anywhere(curve) | {"test error at the largest width": float(curve.test_error[0, -1])}  # pyright: ignore
