"""One-to-one matching of the units of two networks (Li, Yosinski, Clune, Lipson and Hopcroft, 2016)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from assay.core import InvalidInputError, check_choice, check_samples


@dataclass(frozen=True, eq=False)
class UnitMatching:
    """Partner of each unit of network a among the units of network b.

    Attributes:
        permutation: Column that each row is matched with; -1 for units that are left over where a has more than b.
        scores: Similarity of each unit and its partner; 0 for units that are left over.
    """

    permutation: Int64[Tensor, " a"]
    scores: Float[Tensor, " a"]

    @property
    def mean(self) -> float:
        """Mean similarity over all units of a."""
        return float(self.scores.mean())

    def share_above(self, threshold: float) -> float:
        """Return the share of units whose similarity with their partner exceeds the threshold."""
        return float((self.scores > threshold).double().mean())

    def __str__(self) -> str:
        return (
            f"{len(self.scores)} units are matched at a mean similarity of {self.mean:.2f}: "
            f"{self.share_above(0.8):.0%} above 0.8, {1 - self.share_above(0.4):.0%} at 0.4 or below."
        )


def match_units(between: Float[Tensor, "a b"], *, method: Literal["bipartite", "semi"] = "bipartite") -> UnitMatching:
    r"""Match units of two networks by their similarity.

    "bipartite" maximises $\sum_i c_{i \pi(i)}$ over one-to-one maps (the Hungarian method); "semi" takes
    $\pi(i) = \arg\max_j c_{ij}$, so that units of b can be shared. Where semi-matching gains much, several units of
    a have the same counterpart.

    Args:
        between: Similarity of units of a (rows) and b (columns), such as `UnitStatistics.between` or mutual
            information. Leave dead units out: see `UnitStatistics.live`. Signed correlations suit units behind a ReLU;
            pass absolute values for units without a sign.
        method: Whether a unit of b has one partner or any number.

    Raises:
        InvalidInputError: The matrix or the method is unusable.

    Cost: time O(n³) for "bipartite", O(n²) for "semi".

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning" (2016), section 3, one-to-one alignments by
    bipartite and semi-matching.

    >>> match_units(torch.tensor([[0.9, 0.8], [0.7, 0.1]])).permutation.tolist()
    [1, 0]
    >>> match_units(torch.tensor([[0.9, 0.8], [0.7, 0.1]]), method="semi").permutation.tolist()
    [0, 0]
    """
    check_choice(method, ("bipartite", "semi"), "method")
    between = check_samples(between, "between")
    if between.ndim != 2:
        raise InvalidInputError(f"between must be a matrix of units by units, got shape {tuple(between.shape)}")
    if method == "semi":
        best = between.max(1)
        return UnitMatching(best.indices, best.values)
    rows, columns = linear_sum_assignment(between.double().cpu().numpy(), maximize=True)
    index = torch.as_tensor(rows, device=between.device)
    partner = torch.as_tensor(columns, device=between.device)
    permutation = torch.full((len(between),), -1, device=between.device).index_copy(0, index, partner)
    scores = between.new_zeros(len(between)).index_copy(0, index, between[index, partner])
    return UnitMatching(permutation, scores)
