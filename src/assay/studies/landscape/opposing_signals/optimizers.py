"""Steps that optimisers need on two classes, with planted outliers and without."""

from functools import partial
from typing import Any

import torch

from assay.core import seeded, squared_error
from assay.landscape.opposing import SplitSGD, make_opposing_outliers
from assay.nets import mlp
from assay.studies.landscape.opposing_signals.settings import Settings

TARGET = 0.1  # 0.05 of half the squared error
DIVERGED = 1e4

OPTIMIZERS: dict[str, tuple[Any, float]] = {
    "gradient descent": (torch.optim.SGD, 0.0125),
    "Adam": (torch.optim.Adam, 0.00025),
    "SplitSGD": (SplitSGD, 0.0125),
}
"""Optimisers by name, each with the smallest learning rate tried; the others double it."""


def optimizers(settings: Settings, optimizer: str, feature: bool, seed: int) -> dict[str, Any]:
    """Train with each learning rate of the grid, and keep the largest without a rise of the loss and the best one."""
    factory, smallest = OPTIMIZERS[optimizer]
    rates = [smallest * 2**place for place in range(settings.rates)]
    runs = [_train(settings, partial(factory, lr=rate), feature, seed) for rate in rates]
    # The largest rate up to which the loss never rises.
    stable = 0
    while stable + 1 < len(runs) and runs[stable + 1][1] == 0 and runs[stable][1] == 0:
        stable += 1
    best = min(range(len(runs)), key=lambda place: runs[place][0])
    return {
        "stable rate": rates[stable],
        "stable steps": runs[stable][0],
        "best rate": rates[best],
        "best steps": runs[best][0],
        "rises": torch.tensor([rises for _, rises in runs]),
        "steps": torch.tensor([steps for steps, _ in runs]),
    }


def _train(settings: Settings, build: Any, feature: bool, seed: int) -> tuple[int, int]:
    """Return the steps to the target loss, or the most steps, and how many of them raise the loss."""
    data = make_opposing_outliers(settings.samples, n_outliers=10 if feature else 0, generator=seeded(seed))
    x, y = data.x.float(), data.y.float()
    model = mlp((x.shape[1], 64, 64, 1), generator=seeded(seed))
    optimizer, rises, before = build(model.parameters()), 0, float("inf")
    for step in range(settings.most_steps):
        optimizer.zero_grad()
        loss = squared_error(model(x), y)
        value = loss.item()
        rises += value > before
        if value < TARGET:
            return step, rises
        if not value < DIVERGED:
            return settings.most_steps, max(rises, 1)
        before = value
        loss.backward()
        optimizer.step()
    return settings.most_steps, rises
