"""Choice of candidates that other restarts have found too, without the training data."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.reconstruction.scoring import normalized_correlation

DISTINCT = 0.8
"""Correlation from which two candidates stand for the same sample."""

SAME = 0.9
"""Correlation from which candidates are averaged."""


@dataclass(frozen=True, eq=False)
class Elected:
    """Hold candidates that stand for samples, those with most votes first.

    Attributes:
        candidates: Each the mean of its near-copies in all restarts.
        votes: Mean over the other restarts of its largest correlation there.
    """

    candidates: Float[Tensor, "k d"]
    votes: Float[Tensor, " k"]


def elect(pool: Float[Tensor, "r m d"], mean: Float[Tensor, " d"], most: int) -> Elected:
    """Return the candidates that other restarts have found too, at most as many as there are samples.

    Searches from different starts that end near the same sample agree. A candidate's vote is the mean over the other
    restarts of its largest correlation with a candidate there, the mean sample taken out of both. In order of votes
    those are kept whose correlation with every kept one is below 0.8; each is then replaced by the mean of all
    candidates whose correlation with it is above 0.9.

    Cost: time O((r m)^2 d), memory O((r m)^2).

    Args:
        pool: Candidates of each restart.
        mean: Mean sample.
        most: Largest number of candidates to keep.

    >>> pool = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[0.9, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    >>> [round(vote, 3) for vote in elect(pool, torch.zeros(3), 2).votes.tolist()]
    [1.0, 0.5]
    """
    restarts, size = pool.shape[:2]
    flat = pool.flatten(0, 1)
    likeness = normalized_correlation(flat - mean, flat - mean)
    best = likeness.view(restarts * size, restarts, size).amax(2)
    own = torch.arange(restarts, device=pool.device).repeat_interleave(size)
    votes = (best.sum(1) - best.gather(1, own[:, None])[:, 0]) / max(restarts - 1, 1)
    kept: list[int] = []
    for index in votes.argsort(descending=True, stable=True).tolist():
        if len(kept) < most and (not kept or float(likeness[index, kept].max()) < DISTINCT):
            kept.append(index)
    chosen = torch.as_tensor(kept, device=pool.device)
    copies = (likeness[chosen] > SAME).to(flat)
    return Elected(copies @ flat / copies.sum(1, keepdim=True), votes[chosen])
