"""Null of the search: what as many random candidates leave of the weights, with the best factor for each."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import symmetric_eigenpairs
from assay.reconstruction.kkt.multipliers import Multipliers
from assay.reconstruction.kkt.search import StationarityGap

N_DRAWS = 3
"""Draws of random candidates that the null is averaged over."""

MOST_EQUATIONS = 20_000
"""Largest number of weights that the factors are fitted to; of more, a random choice."""


def left_by_random_candidates(
    gap: StationarityGap, x: Float[Tensor, "r m ..."], multipliers: Sequence[Multipliers], *, generator: torch.Generator
) -> float:
    r"""Return what random candidates leave of the goal, as a norm relative to the goal's.

    The candidates of the first restart are replaced by random ones of the same lengths, and each contribution
    $J(x_i)^\top \mu_i$ gets the factor of either sign that explains most of the goal, by least squares. Where even such
    candidates explain the weights, a small residual does not show that a search has found samples.

    Cost: time O(m p + m^2 min(p, 20 000)), memory O(m min(p, 20 000)).

    Args:
        gap: The gap that was searched, its gates at their last sharpness.
        x: Candidates that the search has found.
        multipliers: Their multipliers.
        generator: Source of the directions and of the choice of equations.
    """
    flat = x[0].detach().flatten(1)
    size = sum(part.numel() for part in gap.goal)
    chosen = torch.randperm(size, generator=generator)[:MOST_EQUATIONS].to(x.device)
    goal = torch.cat([part.flatten() for part in gap.goal])[chosen].double()
    rests = []
    for _ in range(N_DRAWS):
        directions = torch.randn(flat.shape, generator=generator).to(flat)
        drawn = directions / directions.norm(dim=1, keepdim=True) * flat.norm(dim=1, keepdim=True)
        rows = _contributions(gap, drawn.reshape(x.shape[1:]), multipliers, chosen, at_once=len(x))
        rests.append(_rest(rows.double(), goal))
    return sum(rests) / len(rests)


def _contributions(
    gap: StationarityGap, x: Float[Tensor, "m ..."], multipliers: Sequence[Multipliers], chosen: Tensor, at_once: int
) -> Float[Tensor, "k e"]:
    """Return the contribution of each candidate at each point of the gap, in the chosen weights."""
    goal = dict(zip(gap.names, gap.goal, strict=True))
    rows = []
    for weights, weighted in zip(gap.points, multipliers, strict=True):
        single = StationarityGap(gap.model, goal=goal, points=[weights])
        for start in range(0, len(x), at_once):
            some = slice(start, start + at_once)
            parts = single.explained(x[some, None], [weighted.apart(some)])
            rows.append(torch.cat([part.flatten(1) for part in parts], 1)[:, chosen])
    return torch.cat(rows)


def _rest(rows: Float[Tensor, "k e"], goal: Float[Tensor, " e"]) -> float:
    """Return the relative residual of a least-squares fit of the goal by rows, whose lengths do not matter."""
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    values, vectors = symmetric_eigenpairs(rows @ rows.T)
    explained = (vectors.T @ (rows @ goal)).square() / values
    kept = values > 1e-10 * values.max()
    return float((1 - explained[kept].sum() / goal.square().sum()).clamp_min(0).sqrt())
