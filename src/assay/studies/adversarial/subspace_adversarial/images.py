"""Images beside a blank half that no training sample uses, and networks that are flipped by changing that half."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.adversarial import OffSubspaceAttack, SubspaceBasis
from assay.core import accuracy, binary_cross_entropy, fit, margins, seeded
from assay.data import load
from assay.nets import TwoLayerReLU
from assay.studies.adversarial.subspace_adversarial.settings import VARIANTS, Images

LADDER = tuple(0.5 * 1.25**rung for rung in range(26))
"""Radii that are tried in turn: 0.5 to 132, for images of norm 40."""


def blank_beside(x: Tensor) -> tuple[Tensor, SubspaceBasis]:
    """Put a blank image to the right of each image; return flat inputs and the basis of the left half."""
    wide = torch.cat([x, torch.zeros_like(x)], 3).flatten(1)
    left = torch.cat([torch.ones_like(x[:1]), torch.zeros_like(x[:1])], 3).flatten().bool()
    return wide, SubspaceBasis(torch.eye(wide.shape[1])[:, left])


def flip_images(settings: Images, variant: str, seed: int) -> dict[str, Any]:
    """Train a network to tell 3 from 7, and attack both halves of test images."""
    data, how = load(settings.source), VARIANTS[variant]
    parts = [(data.x_train, data.y_train), (data.x_test, data.y_test)]
    (x, y), (x_test, y_test) = [(a[(b == 3) | (b == 7)], (b[(b == 3) | (b == 7)] == 7).long()) for a, b in parts]
    chosen = torch.randperm(len(x), generator=seeded(seed))[: settings.n_train]
    (x, basis), y, (x_test, _) = blank_beside(x[chosen]), y[chosen], blank_beside(x_test)
    scale = x.shape[1] ** 0.5 / x.norm(dim=1).mean()
    x, x_test = scale * x, scale * x_test
    init_scale = how.shrink * x.shape[1] ** -0.5
    model = TwoLayerReLU(x.shape[1], settings.units, init_scale=init_scale, generator=seeded(seed))
    sgd = partial(torch.optim.SGD, lr=0.005, weight_decay=0.1 if how.decay else 0.0)
    stop = None if how.decay else lambda step: step.number % 25 == 0 and accuracy(step.model(x), y) >= 0.99
    options = {"n_iter": settings.steps, "batch_size": 64, "generator": seeded(seed + 1), "stop": stop}
    fit(model, x, y, loss=binary_cross_entropy, optimizer=sgd, **options)
    right = margins(model(x_test).detach(), y_test) > 0
    x, y = x_test[right][: settings.attacked], y_test[right][: settings.attacked]
    off, flipped = climb_ladder(model, x, y, basis)
    on, _ = climb_ladder(model, x, y, basis.complement)
    side = data.x_train.shape[-1]
    return {
        "test accuracy": right.double().mean().item(),
        "flip radius, blank half": off.median().item(),
        "flip radius, image half": on.median().item(),
        "before": (x[:4] / scale).view(-1, side, 2 * side),
        "after": (flipped[:4] / scale).view(-1, side, 2 * side),
    }


def climb_ladder(model: TwoLayerReLU, x: Tensor, y: Tensor, basis: SubspaceBasis) -> tuple[Tensor, Tensor]:
    """Return the first radius of the ladder at which the attack flips each sample, and where it went."""
    radius, x_adv = torch.full((len(x),), LADDER[-1]), x.clone()
    standing = torch.arange(len(x))
    for rung in LADDER:
        if not len(standing):
            break
        point = OffSubspaceAttack(basis, max_norm=rung, n_iter=10)(model, x[standing], y[standing])
        broken = margins(model(point).detach(), y[standing]) <= 0
        x_adv[standing[broken]], radius[standing[broken]] = point[broken], rung
        standing = standing[~broken]
    return radius, x_adv
