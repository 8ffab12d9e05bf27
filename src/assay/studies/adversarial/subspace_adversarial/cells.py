"""Networks trained on random points of a subspace: the law of their gradient off it, and how far off it they flip."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.adversarial import SubspaceBasis, off_subspace_gradient, off_subspace_radius
from assay.adversarial.subspace import expected_off_gradient
from assay.core import Step, accuracy, binary_cross_entropy, fit, margins, seeded
from assay.nets import TwoLayerReLU
from assay.studies.adversarial.subspace_adversarial.settings import VARIANTS, Points

FARTHEST = 30.0
"""Radii are searched up to three times the norm of a point; beyond it they count as this."""


def draw_points(points: Points, source: torch.Generator) -> tuple[Tensor, Tensor, SubspaceBasis]:
    """Draw points of a subspace with random labels; return them with the subspace's basis."""
    rank = points.dim - points.codim
    x = F.pad(torch.randn(points.n, rank, generator=source, dtype=torch.float64), (0, points.codim))
    y = torch.randint(2, (points.n,), generator=source)
    return x, y, SubspaceBasis(torch.eye(points.dim, rank, dtype=torch.float64))


def train(
    model: TwoLayerReLU, x: Tensor, y: Tensor, n_iter: int, stop: Callable[[Step], bool] | None = None, **sgd: float
) -> None:
    """Train by full-batch gradient descent on the logistic loss."""
    fit(model, x, y, loss=binary_cross_entropy, optimizer=partial(torch.optim.SGD, **sgd), n_iter=n_iter, stop=stop)


def follow_law(points: Points, seed: int) -> dict[str, float]:
    """Train one network on points of a subspace; compare its weights and its gradient off it with what they must be."""
    source, on = seeded(seed), points.dim - points.codim
    x, y, basis = draw_points(points, source)
    model = TwoLayerReLU(points.dim, points.width, generator=source).double()
    first = model.weight.detach().clone()
    train(model, x, y, points.n_iter, lr=0.5)
    drift = (model.weight.detach() - first)[:, on:].abs().max()
    active = int(model.active_units(x[:1]).sum())
    law = expected_off_gradient(width=points.width, active=active, dim=points.dim, codim=points.codim)
    off = off_subspace_gradient(model, x[:1], basis=basis).off_norm.item()
    decayed = TwoLayerReLU(points.dim, points.width, generator=seeded(seed)).double()
    first = decayed.weight.detach().clone()
    train(decayed, x, y, points.n_iter, lr=0.2, weight_decay=1e-2)
    expected = (1 - 0.2 * 1e-2) ** points.n_iter * first[:, on:]
    missed = (decayed.weight.detach()[:, on:] - expected).abs()
    error = (missed / expected.abs().clamp_min(1e-300)).max()  # some weight is drawn as zero among a few million
    return {
        "drift": drift.item(),
        "statistic": points.codim * off**2 / law.mean_square,
        "above": float(off >= law.lower),
        "decay error": error.item(),
    }


def flip_points(points: Points, variant: str, seed: int) -> dict[str, float]:
    """Train a network on points of a subspace and flip these off it."""
    x, y, basis = draw_points(points, seeded(seed))
    x = F.normalize(x) * points.dim**0.5
    scale = VARIANTS[variant].shrink / points.dim**0.5
    model = TwoLayerReLU(points.dim, points.width, init_scale=scale, generator=seeded(seed)).double()
    if VARIANTS[variant].decay:
        train(model, x, y, points.n_iter, lr=0.2, weight_decay=1e-2)
    else:
        train(model, x, y, 5000, stop=lambda step: bool(margins(step.model(x), y).min() >= 1), lr=0.5)
    law = partial(expected_off_gradient, width=points.width, dim=points.dim, codim=points.codim, init_scale=scale)
    expected = sorted(law(active=int(k)).mean_square ** 0.5 for k in model.active_units(x).sum(1))
    search = partial(off_subspace_radius, model, x, y, basis=basis, max_norm=FARTHEST)
    return {
        "training accuracy": accuracy(model(x).detach(), y),
        "gradient": off_subspace_gradient(model, x, basis=basis).off_norm.median().item(),
        "gradient by the law": expected[len(expected) // 2],
        "flip radius": search(direction="gradient").clamp(max=FARTHEST).median().item(),
        "flip radius, one direction": search(direction="universal").clamp(max=FARTHEST).max().item(),
    }
