"""Consensus of independent searches by clustering, without the training data (Oz et al., 2024)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.base import BaseEstimator
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_fraction, check_samples

CONSENSUS_DISTANCE = 0.3
"""Cosine distance up to which candidates of independent searches count as the same sample."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """Hold cluster centres, those with most votes first.

    Attributes:
        centres: Weighted means of each cluster's members, at their mean norm.
        support: Number of distinct restarts with a member in the cluster.
        cohesion: Norm of the mean direction of the members, 1 if all are equal.
        multipliers: Sum of the members' multipliers, averaged over restarts.
        labels: Label of the members.
        members: Cluster of each candidate; -1 if its cluster was dropped as a duplicate of a better one.
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
    distance: float = CONSENSUS_DISTANCE,
    duplicate: float = 0.2,
) -> Consensus:
    r"""Cluster candidates by direction and rank the clusters by the votes of the restarts.

    Searches from different starts that end near the same training sample agree; failures scatter. The clustering is
    average linkage on $1 - \cos$ within each label. A member weighs $\lVert\lambda_i\rVert \lVert x_i \rVert$; each
    restart votes for a cluster with its heaviest member there, and clusters are ranked by the sum of their votes. A
    cluster whose centre is within `duplicate` of a better one is dropped.

    Cost: time O(m^2 d), memory O(m^2).

    Args:
        pool: Candidates of all restarts.
        restarts: Restart of each candidate: duplicates within a restart are no agreement.
        labels: Label of each candidate; the same for all when None.
        multipliers: Multiplier of each candidate, of either sign, or one per output; 1 when None.
        distance: Largest cosine distance at which clusters join.
        duplicate: Cosine distance below which two centres count as the same sample.

    Returns:
        The clusters, those with most votes first.

    Raises:
        InvalidInputError: Lengths differ, or a distance is not between 0 and 1.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024),
    section on identifying good reconstructions without the training set; distinct restarts, weights and votes are ours.

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
        raise InvalidInputError(
            f"pool, restarts, labels and multipliers must have one entry a candidate each, got {len(pool)}, "
            f"{len(restarts)}, {len(labels)} and {len(multipliers)}"
        )
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


class ConsensusSelector(BaseEstimator):
    r"""Select candidates on which independent runs of an attack agree, without the training data.

    Clusters candidates as `consensus` does and keeps clusters with members of at least `min_runs` distinct runs, those
    with most votes first. `KKTReconstructor` selects its `reconstructions_` in the same way; use the selector to pool
    several fits.

    `check_estimator`: no check that calls `fit(X)` or `fit(X, y)` can hold, since `fit` needs the run of each
    candidate.

    Cost: time O(m^2 d), memory O(m^2).

    Args:
        distance_threshold: Largest cosine distance at which clusters join.
        min_runs: Least number of distinct runs in a cluster.

    Attributes:
        representatives_: Mean of the members of each cluster, at their mean norm, `(k, d)`.
        sizes_: Members of each cluster.
        n_runs_: Distinct runs among the members.
        tightness_: Norm of the mean direction of the members, 1 if all are equal; for equal weights its square is
            their mean cosine, self-pairs included.
        labels_: Cluster of each candidate; -1 if its cluster was not kept.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024),
    section on identifying good reconstructions without the training set; linkage, threshold and counting runs are ours.

    >>> selector = ConsensusSelector().fit(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 1, 0]))
    >>> selector.n_runs_.tolist(), selector.labels_.tolist()
    ([2], [0, 0, -1])
    """

    def __init__(self, distance_threshold: float = CONSENSUS_DISTANCE, min_runs: int = 2) -> None:
        self.distance_threshold = distance_threshold
        self.min_runs = min_runs

    def fit(
        self,
        candidates: Float[Tensor, "m d"],
        run_ids: Int[Tensor, " _"],
        *,
        multipliers: Float[Tensor, "_ *c"] | None = None,
        classes: Int[Tensor, " _"] | None = None,
    ) -> "ConsensusSelector":
        """Cluster candidates.

        Args:
            candidates: Candidates of all runs.
            run_ids: Run of each candidate.
            multipliers: Weight of each candidate per unit of its norm: the attack's multipliers, so that candidates
                without a share in the weights have no vote. Equal weights when None.
            classes: Class of each candidate, clustered separately; one class when None.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: Lengths differ, the threshold is not between 0 and 1, or `min_runs` is not positive.
        """
        check_samples(candidates, "candidates")
        check_count(self.min_runs, "min_runs")
        if multipliers is None:
            multipliers = 1 / candidates.norm(dim=1).clamp_min(torch.finfo(candidates.dtype).tiny)
        options = {"labels": classes, "multipliers": multipliers, "distance": self.distance_threshold}
        found = consensus(candidates, run_ids, **options)
        kept = (found.support >= self.min_runs).nonzero()[:, 0]
        self.representatives_, self.n_runs_ = found.centres[kept], found.support[kept]
        self.tightness_ = found.cohesion[kept]
        self.sizes_ = (found.members[:, None] == kept).sum(0)
        self.labels_ = torch.where(torch.isin(found.members, kept), torch.searchsorted(kept, found.members), -1)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        return tags


def _votes(
    share: Float[Tensor, " m"], restarts: Int[Tensor, " m"], clusters: Int[Tensor, " m"]
) -> Float[Tensor, "r k"]:
    """Return the weight of the heaviest member of each restart in each cluster, 0 without a member."""
    names, number = restarts.unique(return_inverse=True)
    n_clusters = int(clusters.max()) + 1
    votes = share.new_zeros(len(names) * n_clusters)
    tiny = torch.finfo(share.dtype).tiny  # a member without weight still counts as present
    votes.scatter_reduce_(0, number * n_clusters + clusters, share.clamp_min(tiny), "amax")
    return votes.view(len(names), n_clusters)


def _cluster(directions: np.ndarray, labels: np.ndarray, distance: float) -> np.ndarray:
    """Number the clusters 0, 1, ...; no cluster spans two labels."""
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
    """Order by score and drop duplicates of earlier entries."""
    kept: list[int] = []
    cosines = (directions @ directions.T).cpu()
    # Rounded, so that clusters of equal agreement keep the order of the pool.
    for index in (score / score.max()).mul(1e4).round().argsort(descending=True, stable=True).tolist():
        if not kept or cosines[index, kept].max() < 1 - duplicate:
            kept.append(index)
    return torch.as_tensor(kept, device=directions.device)
