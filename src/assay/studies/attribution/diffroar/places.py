"""What the place of a kept coordinate tells a retrained network, without its value."""

from functools import partial
from typing import Any

import torch

from assay.attribution.faithfulness import (
    input_gradient_attribution,
    rank_coordinates,
    simplified_blocks,
    unmask,
)
from assay.core import accuracy, cross_entropy, fit, predict, seeded, spawn_seeds
from assay.studies.attribution.diffroar.settings import Settings
from assay.studies.attribution.diffroar.training import BATCH, new_network


def places_alone(settings: Settings, seed: int) -> dict[str, float]:
    """Retrain on the mask of one coordinate, all values replaced by 1, for a standard network on vectors."""
    plan, d = settings.vectors, settings.features
    draws, weights, order, retrain = spawn_seeds(seed, 4)
    train, test = (
        simplified_blocks(n, d, noise=settings.noise, generator=seeded(child))
        for n, child in zip((plan.samples, settings.test), spawn_seeds(draws, 2), strict=True)
    )
    standard = new_network((d,), plan.hidden, 2, seeded(weights))
    sgd: Any = partial(torch.optim.SGD, lr=0.1)
    options: dict[str, Any] = {"epochs": settings.sgd_epochs, "batch_size": BATCH // 2, "generator": seeded(order)}
    fit(standard, train.x, train.y, loss=cross_entropy, optimizer=sgd, **options)
    ranks = [rank_coordinates(input_gradient_attribution(standard, data.x)) for data in (train, test)]
    adam: Any = partial(torch.optim.Adam, lr=plan.lr)
    options = {"epochs": settings.retrain_epochs, "batch_size": BATCH, "schedule": "cosine"}
    found = {}
    for end in ("top", "bottom"):
        masks = [
            unmask(torch.ones_like(data.x), own, 1 / d, keep=end)
            for data, own in zip((train, test), ranks, strict=True)
        ]
        fresh = new_network((d,), plan.hidden, 2, seeded(retrain))
        fit(fresh, masks[0], train.y, loss=cross_entropy, optimizer=adam, generator=seeded(retrain), **options)
        found[end] = accuracy(predict(fresh, masks[1]), test.y)
    return found
