"""Which of thousands of candidates to look at, when there is nothing to compare them with."""

from typing import Any

import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from torch import Tensor

from assay.core import check_positive, check_samples
from assay.reconstruction.kkt.consensus import consensus


class ConsensusSelector(BaseEstimator):
    r"""Select what independent runs of an attack agree on, without the training data.

    Average linkage on $1 - \cos$ up to a distance; clusters with members of at least `min_runs` distinct runs are
    kept, those that most runs found first. Runs that end near the same training sample agree, failures scatter;
    duplicates within a run are no agreement. Time and memory are quadratic in m. `KKTReconstructor` selects its
    `reconstructions_` by the same `consensus`; this selects from what several fits found, on several machines or days.

    `check_estimator` does not apply: `fit` needs the run of each candidate.

    Args:
        distance_threshold: Cosine distance up to which clusters join.
        min_runs: Distinct runs that a cluster must have.

    Attributes:
        representatives_: Mean of each cluster's members, at their mean norm, `(k, d)`; averaging takes noise away.
        sizes_: Members of each.
        n_runs_: Distinct runs among them.
        tightness_: Norm of the mean of their directions, 1 where they are all the same; its square is their mean
            cosine, self-pairs included, where all weigh the same.
        labels_: Cluster of each candidate; -1 where its cluster was not kept.

    Source: Oz et al., Reconstructing Training Data From Real World Models Trained with Transfer Learning (2024). The
    linkage, the threshold and counting runs instead of members are ours.

    >>> selector = ConsensusSelector().fit(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 1, 0]))
    >>> selector.n_runs_.tolist(), selector.labels_.tolist()
    ([2], [0, 0, -1])
    """

    def __init__(self, distance_threshold: float = 0.15, min_runs: int = 2) -> None:
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
            candidates: What all runs found.
            run_ids: Which run each came from.
            multipliers: What each weighs per unit of its norm, in the means and in the votes of the runs: the
                attack's multipliers, so that candidates that explain nothing count for nothing. Where None all
                weigh the same.
            classes: Class of each, kept apart; one for all when None.

        Returns:
            The estimator itself.

        Raises:
            InvalidInputError: Lengths differ, the threshold is not between 0 and 1, or `min_runs` is not positive.
        """
        check_samples(candidates, "candidates")
        check_positive(self.min_runs, "min_runs")
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
