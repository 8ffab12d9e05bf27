"""First weights and scales of stochastic CCA, from one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

_POWER_STEPS = 10
_NORM = 0.3  # of a first column in the metric B, whose largest norm at the minimum is the root of an eigenvalue


def first_weights(batch: Sequence[Tensor], k: int, ridges: Sequence[float], source: torch.Generator) -> list[Tensor]:
    r"""Draw normal weights, and scale each column to a small norm in the metric B on the batch.

    Zero is a saddle of the loss.
    """
    found = []
    for view, alpha in zip(batch, ridges, strict=True):
        weight = torch.randn(view.shape[1], k, generator=source, dtype=torch.float64).to(view.dtype)
        squared = (1 - alpha) * (view @ weight).var(0) + alpha * weight.square().sum(0)
        tiny = torch.finfo(view.dtype).tiny
        found.append(_NORM * weight / (len(batch) * squared).clamp_min(tiny).sqrt().clamp_min(1e-6))
    return found


def between_scale(batch: Sequence[Tensor], ridges: Sequence[float], source: torch.Generator) -> float:
    r"""Bound the largest eigenvalue of the problem on a batch by $\max_i s_i / ((1 - \alpha_i) s_i + \alpha_i)$.

    Here $s_i$ is the largest variance of a direction in view i, by power iteration. It is 1 for CCA.
    """
    if not any(ridges):
        return 1.0
    found = 0.0
    for view, alpha in zip(batch, ridges, strict=True):
        centred = view - view.mean(0)
        direction = torch.randn(view.shape[1], generator=source, dtype=torch.float64).to(view.dtype)
        variance = view.new_zeros(())
        for _ in range(_POWER_STEPS):
            image = centred.mT @ (centred @ direction) / (len(view) - 1)
            variance = image.norm() / direction.norm()
            direction = image / image.norm().clamp_min(torch.finfo(view.dtype).tiny)
        found = max(found, float(variance / ((1 - alpha) * variance + alpha)))
    return found if found > 0 else 1.0
