"""Descent directions on linear maps: of the Eckart-Young loss, and of Hebbian learning (Chen et al., 2019)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Rule = Literal["eckart-young", "hebbian"]


def descent_direction(
    batch: Sequence[Tensor],
    weights: Sequence[Tensor],
    ridges: Sequence[float],
    *,
    rule: Rule = "eckart-young",
    unbiased: bool = False,
    between_scale: float = 1.0,
) -> list[Tensor]:
    r"""Return the direction of each view's map, to be subtracted.

    The gradient of the Eckart-Young loss is $-4 A U + 4 B U (U^\top B U)$ on the batch's matrices; the stochastic
    generalised Hebbian algorithm (SGHA) goes along $A U - B U (U^\top A U)$. Here both are without the factor 4.

    Args:
        batch: One matrix (n, d) a view, not necessarily centred.
        weights: One matrix (d, k) a view.
        ridges: Of each view.
        rule: Which of the two.
        unbiased: Take $U^\top B U$ of one half of the batch and the rest of the other, both ways.
        between_scale: A is divided by it, which divides the eigenvalues and keeps the eigenvectors.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text: the gradient of GEP-EY;
    Chen et al., On Constrained Nonconvex Stochastic Optimization (2019), algorithm of the abstract.
    """
    if not unbiased:
        scores = _scores(batch, weights)
        middle = _middle(scores, weights, ridges, rule, between_scale)
        return _along(batch, scores, weights, ridges, middle, between_scale)
    half = len(batch[0]) // 2
    parts = [[view[:half] for view in batch], [view[half:] for view in batch]]
    scores = [_scores(part, weights) for part in parts]
    middles = [_middle(one, weights, ridges, rule, between_scale) for one in scores]
    found = [_along(parts[i], scores[i], weights, ridges, middles[1 - i], between_scale) for i in (0, 1)]
    return [(one + other) / 2 for one, other in zip(*found, strict=True)]


def _scores(batch: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    scores = [view @ weight for view, weight in zip(batch, weights, strict=True)]
    return [z - z.mean(0) for z in scores]


def _middle(
    scores: list[Tensor], weights: Sequence[Tensor], ridges: Sequence[float], rule: Rule, between_scale: float
) -> Tensor:
    """Return U'BU, or U'AU for the Hebbian rule."""
    degrees = len(scores[0]) - 1
    if rule == "hebbian":
        total = torch.stack(scores).sum(0)
        return (total.mT @ total - sum(z.mT @ z for z in scores)) / (degrees * between_scale)
    within = scores[0].new_zeros(scores[0].shape[1], scores[0].shape[1])
    for z, weight, alpha in zip(scores, weights, ridges, strict=True):
        within += (1 - alpha) / degrees * z.mT @ z + (alpha * weight.mT @ weight if alpha else 0)
    return within


def _along(
    batch: Sequence[Tensor],
    scores: list[Tensor],
    weights: Sequence[Tensor],
    ridges: Sequence[float],
    middle: Tensor,
    between_scale: float,
) -> list[Tensor]:
    degrees = len(scores[0]) - 1
    total, found = torch.stack(scores).sum(0), []
    for view, z, weight, alpha in zip(batch, scores, weights, ridges, strict=True):
        slope = view.mT @ (((1 - alpha) * z @ middle - (total - z) / between_scale) / degrees)
        found.append(slope + alpha * weight @ middle if alpha else slope)
    return found
