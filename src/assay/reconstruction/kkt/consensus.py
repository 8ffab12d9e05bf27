"""What independent restarts agree on: the reconstructions worth looking at, chosen without the training data."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from assay.core import InvalidInputError, check_fraction, check_samples

DISTANCE = 0.3
"""Cosine distance up to which candidates that independent searches found are taken for the same sample."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """Hold cluster centres, those with most votes first.

    Attributes:
        centres: Weighted means of each cluster's members, at their mean norm.
        support: Number of distinct restarts with a member in the cluster.
        cohesion: Norm of the mean of the members' directions, 1 where they are all the same.
        multipliers: Mean over restarts of the members' summed multipliers.
        labels: Label of the members.
        members: Cluster of each candidate; -1 where its cluster was dropped for a better one close to it.
    """

    centres: Float[Tensor, "k d"]
    support: Int[Tensor, " k"]
    cohesion: Float[Tensor, " k"]
    multipliers: Float[Tensor, "k *c"]
    labels: Int[Tensor, " k"]
    members: Int[Tensor, " m"]


def consensus(
    pool: Float[Tensor, "m d"],
    restarts: Int[Tensor, " _"],
    *,
    labels: Int[Tensor, " _"] | None = None,
    multipliers: Float[Tensor, "_ *c"] | None = None,
    distance: float = DISTANCE,
    duplicate: float = 0.2,
) -> Consensus:
    r"""Cluster candidates by direction and rank the clusters by how many restarts agree.

    Searches from different starts that end near the same training sample agree, failures scatter. Average linkage on
    $1 - \cos$, within each label. A member weighs $\lVert\lambda_i\rVert \lVert x_i \rVert$, its share of the
    weights; each restart votes for a cluster with its heaviest member there, and clusters are ranked by the sum of the
    votes. One whose centre lies within `duplicate` of a better one is dropped.
    Time and memory are quadratic in m.

    Args:
        pool: Candidates of all restarts.
        restarts: Which restart each came from: duplicates of one restart are no agreement.
        labels: Label of each; one for all when None.
        multipliers: Multiplier of each, of either sign, or one for each output; 1 when None.
        distance: Cosine distance up to which clusters join.
        duplicate: Cosine distance below which two centres are the same sample.

    Returns:
        The clusters, those with most votes first.

    Raises:
        InvalidInputError: Lengths differ, or a distance is not between 0 and 1.

    Source: Oz et al., Reconstructing Training Data From Real World Models (2024); counting distinct
    restarts and weighting members is ours.

    >>> found = consensus(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 1, 0]))
    >>> found.support.tolist()
    [2, 1]
    """
    check_samples(pool, "pool")
    check_fraction(distance, "distance")
    check_fraction(duplicate, "duplicate")
    labels = torch.zeros(len(pool), dtype=torch.long, device=pool.device) if labels is None else labels
    multipliers = torch.ones_like(pool[:, 0]) if multipliers is None else multipliers
    if not len(pool) == len(restarts) == len(labels) == len(multipliers):
        raise InvalidInputError("pool, restarts, labels and multipliers must have one entry a candidate each")
    norms = pool.norm(dim=1).clamp_min(torch.finfo(pool.dtype).tiny)
    clusters = _cluster((pool / norms[:, None]).double().cpu().numpy(), labels.cpu().numpy(), distance)
    member = torch.nn.functional.one_hot(torch.as_tensor(clusters, device=pool.device)).to(pool)
    share = (multipliers.abs() if multipliers.ndim == 1 else multipliers.norm(dim=1)) * norms
    mass = (member.T @ share).clamp_min(torch.finfo(pool.dtype).tiny)
    means = (member.T @ (share[:, None] * pool / norms[:, None])) / mass[:, None]
    cohesion = means.norm(dim=1)
    votes = _votes(share, restarts, torch.as_tensor(clusters, device=pool.device))
    support, n_restarts = (votes > 0).sum(0), len(votes)
    size = (member.T @ (share * norms)) / mass
    keep = _distinct(means / cohesion[:, None], votes.sum(0), duplicate)
    centres = (means / cohesion[:, None] * size[:, None])[keep]
    strength = (member.T @ multipliers / n_restarts)[keep]
    first = torch.as_tensor([int((member[:, k] > 0).nonzero()[0]) for k in keep.tolist()], device=pool.device)
    place = torch.full((len(support),), -1, device=pool.device)
    place[keep] = torch.arange(len(keep), device=pool.device)
    members = place[torch.as_tensor(clusters, device=pool.device)]
    return Consensus(centres, support[keep], cohesion[keep], strength, labels[first].long(), members)


def _votes(
    share: Float[Tensor, " m"], restarts: Int[Tensor, " m"], clusters: Int[Tensor, " m"]
) -> Float[Tensor, "r k"]:
    """Return the heaviest member that each restart has in each cluster, 0 where it has none."""
    names, number = restarts.unique(return_inverse=True)
    n_clusters = int(clusters.max()) + 1
    votes = share.new_zeros(len(names) * n_clusters)
    tiny = torch.finfo(share.dtype).tiny  # a member without weight is present all the same
    votes.scatter_reduce_(0, number * n_clusters + clusters, share.clamp_min(tiny), "amax")
    return votes.view(len(names), n_clusters)


def _cluster(directions: np.ndarray, labels: np.ndarray, distance: float) -> np.ndarray:
    """Number the clusters 0, 1, ... with none across labels."""
    clusters = np.zeros(len(directions), dtype=np.int64)
    count = 0
    for label in np.unique(labels):
        index = np.flatnonzero(labels == label)
        if len(index) == 1:
            clusters[index], count = count, count + 1
            continue
        apart = np.clip(1 - directions[index] @ directions[index].T, 0, 2)
        np.fill_diagonal(apart, 0)
        found = fcluster(linkage(squareform(apart, checks=False), "average"), distance, "distance")
        clusters[index] = found - 1 + count
        count += found.max()
    return clusters


def _distinct(directions: Float[Tensor, "k d"], score: Float[Tensor, " k"], duplicate: float) -> Int[Tensor, " kept"]:
    """Order by score and leave out what is too close to one kept before."""
    kept: list[int] = []
    cosines = (directions @ directions.T).cpu()
    # Rounded, so that clusters of equal agreement keep the order of the pool.
    for index in (score / score.max()).mul(1e4).round().argsort(descending=True, stable=True).tolist():
        if not kept or cosines[index, kept].max() < 1 - duplicate:
            kept.append(index)
    return torch.as_tensor(kept, device=directions.device)
