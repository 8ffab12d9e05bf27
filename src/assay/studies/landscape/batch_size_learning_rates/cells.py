"""Extreme eigenvalues of batches, largest learning rates, and the learner's runs."""

import math
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.core import (
    DenseOperator,
    HessianOperator,
    LossFunction,
    NumericalError,
    Step,
    cross_entropy,
    fit,
    mean_loss,
    seeded,
)
from assay.data import load
from assay.landscape import LanczosLR, estimate_hessian_noise, max_learning_rate
from assay.landscape.learning_rates import (
    HessianNoise,
    effective_batch_size,
    polyak_heavy_ball,
)
from assay.nets import mlp, small_conv
from assay.studies.landscape.batch_size_learning_rates.ceilings import LOG_RATES, log_ceiling, survivors
from assay.studies.landscape.batch_size_learning_rates.settings import Settings

HAND_TUNED = (0.01, 0.03, 0.1, 0.3, 1.0)
LOST = 1e6  # stands for the loss of a run that diverged
CONDITION, CURVATURES = 100.0, 100  # of the quadratic


def digits(settings: Settings) -> tuple[Tensor, Tensor]:
    """Return the training images with each pixel standardised, and their labels."""
    data = load("digits")
    x = data.x_train[: settings.samples].flatten(1)
    return (x - x.mean(0)) / (x.std(0) + 1e-2), data.y_train[: settings.samples]


def warmed_up(settings: Settings, seed: int) -> nn.Module:
    """Train a tanh network of 64, 8 and 10 units by Adam on all samples a step, down to a given loss."""
    x, y = digits(settings)
    model, adam = tanh_network(seed), partial(torch.optim.Adam, lr=0.01)
    fit(model, x, y, loss=cross_entropy, optimizer=adam, n_iter=5000, stop=lambda step: step.loss <= settings.loss)
    return model


def tanh_network(seed: int) -> nn.Module:
    """Return the network before training."""
    first, _, last = mlp((64, 8, 10), generator=seeded(seed))
    return nn.Sequential(first, nn.Tanh(), last)


def inflation(settings: Settings, matrix: Any, batch: int, seed: int) -> dict[str, float]:
    """Measure the extreme eigenvalues of a warmed-up network's curvature on batches, and of all samples."""
    x, y = digits(settings)
    options = {"batch_size": batch, "n_batches": settings.batches, "matrix": matrix, "generator": seeded(seed)}
    return described(estimate_hessian_noise(warmed_up(settings, seed), x, y, loss=cross_entropy, **options))


def described(found: HessianNoise) -> dict[str, float]:
    """Return what a measurement says of its own batch size."""
    mean = found.batch_largest.double().mean().item()
    b = effective_batch_size(found.batch_size, found.dataset_size)
    return {
        "full": found.largest,
        "mean": mean,
        "above": int((found.batch_largest > found.largest).sum()),
        "excess": mean - found.largest,
        "excess times b": (mean - found.largest) * b,
        "iid excess": found.largest_at(found.batch_size, prediction="iid") - found.largest,
        "smallest": found.smallest,
        "mean smallest": found.batch_smallest.double().mean().item(),
        "below": int((found.batch_smallest < found.smallest).sum()),
        "noise": found.q,
    }


def convolutional(settings: Settings, batch: int, seed: int) -> dict[str, float]:
    """Measure the same of the Hessian of a convolutional network on centred Fashion-MNIST images."""
    data = load("fashion")
    x, y = data.x_train[: settings.images], data.y_train[: settings.images]
    x = x - x.mean(0)
    model, adam = small_conv((1, 28, 28), 10, channels=(8, 16), hidden=32, generator=seeded(seed)), torch.optim.Adam
    draws = {"batch_size": 50, "epochs": settings.image_epochs, "generator": seeded(seed)}
    fit(model, x, y, loss=cross_entropy, optimizer=partial(adam, lr=2e-3), **draws)
    options = {"batch_size": batch, "n_batches": settings.batches, "n_iter": 12, "generator": seeded(seed)}
    found = described(estimate_hessian_noise(model, x, y, loss=cross_entropy, **options))
    return found | {"training loss": mean_loss(model, x, y, cross_entropy)}


def ceiling(settings: Settings, optimizer: str, batch: int, seed: int) -> dict[str, float]:
    """Find log2 of the largest rate at which the warmed-up network's training is stable, or ends lower."""
    x, y = digits(settings)
    rates = LOG_RATES[optimizer]
    options = {"n_iter": settings.n_iter, "orders": settings.orders, "seed": seed % 2**31}
    found = survivors(warmed_up(settings, seed), x, y, 2**rates, optimizer=optimizer, batch_size=batch, **options)
    return {"stable": log_ceiling(rates, found.stable), "lower": log_ceiling(rates, found.lower)}


def predictions(settings: Settings, seed: int) -> dict[str, list[float]]:
    """Predict log2 of the largest rates of SGD from the Hessian of batches of one size."""
    x, y = digits(settings)
    options = {"batch_size": settings.fitted, "n_batches": settings.batches, "generator": seeded(seed)}
    noise = estimate_hessian_noise(warmed_up(settings, seed), x, y, loss=cross_entropy, **options)
    kinds: tuple[Literal["fit", "iid"], ...] = ("fit", "iid")
    return {
        kind: [math.log2(max_learning_rate(batch, noise, prediction=kind)) for batch in settings.rate_batches]
        for kind in kinds
    }


def quadratic(settings: Settings, seed: int) -> dict[str, float]:
    """Compare the learner on a quadratic with Polyak's rate and momentum for its known curvatures."""
    curvatures = torch.logspace(0, math.log10(CONDITION), CURVATURES, dtype=torch.float64)
    theta = nn.Parameter(torch.zeros(CURVATURES, dtype=torch.float64))
    optimizer = torch.optim.SGD([theta], lr=1.0)
    LanczosLR(optimizer, DenseOperator(curvatures.diag()), n_iter=30, margin=1.0, generator=seeded(seed))
    learnt = optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]
    best = polyak_heavy_ball(1.0, CONDITION)
    start = torch.randn(CURVATURES, generator=seeded(seed), dtype=torch.float64)
    return {
        "rate": abs(learnt[0] / best[0] - 1),
        "momentum": abs(learnt[1] / best[1] - 1),
        "steps": _heavy_ball_steps(curvatures, start, *learnt) / _heavy_ball_steps(curvatures, start, *best),
    }


def _heavy_ball_steps(curvatures: Tensor, start: Tensor, lr: float, momentum: float) -> int:
    theta = nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([theta], lr=lr, momentum=momentum)
    for step in range(10_000):
        if theta.norm() < 1e-6 * start.norm():
            return step
        theta.grad = curvatures * theta.detach()
        optimizer.step()
    return 10_000


def learner(settings: Settings, seed: int) -> dict[str, Any]:
    """Train on digits with the learner, and with SGD of momentum 0.9 at five rates, and compare the steps."""
    x, y = digits(settings)
    n, batch = settings.learner_steps, settings.learner_batch

    def losses(model: nn.Module, schedule: Any, n_iter: int, **options: Any) -> list[float]:
        seen: list[float] = []

        def look(step: Step) -> None:
            if step.number % 5 == 0:
                seen.append(mean_loss(model, x, y, cross_entropy))

        draws = {"batch_size": batch, "generator": seeded(seed), "callbacks": [look], "schedule": schedule}
        sgd = partial(torch.optim.SGD, **options)
        with suppress(NumericalError):  # a rate that is too large
            fit(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=n_iter, **draws)
        return seen + (n_iter // 5 - len(seen)) * [LOST]

    tuned = [losses(tanh_network(seed), None, n, lr=lr, momentum=0.9) for lr in HAND_TUNED]
    best = min(range(len(HAND_TUNED)), key=lambda place: tuned[place][-1])
    model, source = tanh_network(seed), seeded(seed + 1)
    schedule = partial(
        LanczosLR,
        curvature=lambda: _on_a_batch(model, x, y, cross_entropy, batch, source),
        every=settings.every,
        margin=settings.margin,
    )
    own = losses(model, schedule, 2 * n, lr=1.0)
    reached = [5 * (place + 1) for place, loss in enumerate(own) if loss <= tuned[best][-1]]
    return {
        "steps": (reached[0] if reached else 2 * n) / n,
        "best rate": HAND_TUNED[best],
        "target": tuned[best][-1],
        "learner": own,
        "tuned": tuned[best],
        "loss at as many steps": own[n // 5 - 1],
    }


def _on_a_batch(
    model: nn.Module, x: Tensor, y: Tensor, loss: LossFunction, batch: int, source: torch.Generator
) -> HessianOperator:
    some = torch.randperm(len(x), generator=source)[:batch]
    return HessianOperator(model, x[some], y[some], loss)
