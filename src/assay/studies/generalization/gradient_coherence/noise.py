"""Digits of which half the labels are permuted: learning times, and descent without weak directions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import accuracy, cross_entropy, mean_over_samples, parameter_gradients, seeded, spawn_seeds
from assay.generalization import M3, RM3, WinsorizedSGD, gradient_coherence, learning_times
from assay.nets import mlp
from assay.studies.generalization.gradient_coherence.cells import BATCH, NOISY, answers, digits, lengthened, permuted
from assay.studies.generalization.gradient_coherence.settings import Settings

ROBUST = (64, 96, 10)


def noisy(settings: Settings, seed: int) -> dict[str, Any]:
    """Train on labels of which half are permuted: when samples are learned, and how test accuracy goes."""
    split, start, noise, order = spawn_seeds(seed, 4)
    x, true, x_test, y_test = digits(settings, split)
    y = permuted(true, 0.5, noise)
    corrupt = y != true
    model = mlp(NOISY, generator=seeded(start))
    n = int(min(corrupt.sum(), (~corrupt).sum()))
    at = {"corrupt": corrupt.nonzero()[:n, 0], "pristine": (~corrupt).nonzero()[:n, 0]}
    coherence: dict[str, float] = {}

    def measure(epoch: int) -> None:
        if epoch in (0, 1, 3):
            for name, rows in at.items():
                report = gradient_coherence(model, x[rows], y[rows], loss=cross_entropy, alignments=False)
                coherence[f"{name}, epoch {epoch}"] = report.m_coherence

    sgd = partial(torch.optim.SGD, lr=0.2)
    right, tested = _trained(
        model, x, y, x_test, y_test, sgd(model.parameters()), settings.noisy_epochs, order, measure
    )
    times = learning_times(right)
    first, last = times.first.double(), times.last.double()
    return {
        "first, pristine": float(first[~corrupt].mean()),
        "first, corrupt": float(first[corrupt].mean()),
        "last, pristine": float(last[~corrupt].mean()),
        "last, corrupt": float(last[corrupt].mean()),
        "best": max(tested),
        "best epoch": tested.index(max(tested)) / settings.noisy_epochs,
        "final": tested[-1],
        "memorised": float(right[-1, corrupt].double().mean()),
        "test trace": tested,
        **coherence,
    }


def robust(settings: Settings, arm: str, seed: int) -> dict[str, Any]:
    """Train the same noisy labels by one optimiser: accuracy on corrupt training labels and on test samples."""
    split, start, noise, order = spawn_seeds(seed, 4)
    x, true, x_test, y_test = digits(settings, split)
    y = permuted(true, 0.5, noise)
    corrupt = y != true
    model = mlp(ROBUST, generator=seeded(start))
    kind, *options = arm.split()
    rate = float(options[-1]) if options else 0.3
    epochs = settings.robust_epochs if kind == "winsorized" else settings.sgd_epochs
    weights = model.parameters()
    optimizer: Any = {
        "SGD": lambda: torch.optim.SGD(weights, lr=rate),
        "RM3": lambda: RM3(weights, lr=rate),
        "M3": lambda: M3(weights, lr=rate),
        "winsorized": lambda: WinsorizedSGD(weights, lr=rate, percentile=100 * int(options[0]) / (BATCH - 1)),
    }[kind]()
    right, tested = _trained(model, x, y, x_test, y_test, optimizer, epochs, order)
    halfway = min(settings.robust_epochs, epochs) - 1
    return {
        "corrupt": float(right[-1, corrupt].double().mean()),
        "pristine": float(right[-1, ~corrupt].double().mean()),
        "test": tested[-1],
        "best test": max(tested),
        "corrupt at equal epochs": float(right[halfway, corrupt].double().mean()),
        "test at equal epochs": tested[halfway],
        "test trace": lengthened(tested, max(settings.sgd_epochs, settings.robust_epochs)),
    }


def _trained(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    optimizer: Any,
    epochs: int,
    order: int,
    measure: Callable[[int], None] = lambda epoch: None,
) -> tuple[Tensor, list[float]]:
    """Return which training samples were correct after each epoch, and the test accuracy then."""
    source, right, tested = seeded(order), [], []
    mean = mean_over_samples(cross_entropy, model, x, y)
    measure(0)
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(x), generator=source).split(BATCH):
            if isinstance(optimizer, WinsorizedSGD):
                optimizer.step(parameter_gradients(model, x[rows], y[rows], mean))
                continue
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        right.append(answers(model, x).argmax(1) == y)
        tested.append(accuracy(answers(model, x_test), y_test))
        measure(epoch)
    return torch.stack(right), tested
