"""Similarity of representations by their best-matching units (Li, Yosinski, Clune, Lipson and Hopcroft, 2016)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError
from assay.representation.matching import activation_statistics, match_units
from assay.representation.similarity.checks import check_representations

MOST_UNITS = 4096


def matching_similarity(
    a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"], *, method: Literal["bipartite", "semi"] = "bipartite"
) -> float:
    """Compute the mean correlation of the units of two representations with their partners.

    Unlike similarities of spaces it changes under rotations: it is 1 where units are the same up to order, shift and
    positive scale. Dead units are left out.

    Args:
        a: One row a sample, one column a unit.
        b: The same samples in the other representation.
        method: One partner each, or the best partner of each unit of `a`; see `assay.representation.match_units`.

    Raises:
        InvalidInputError: A matrix is unusable, they have different numbers of rows, all units of one are constant, or
            there are more than 4096 units.

    Cost: time O(n d e), and O((d + e)³) for "bipartite".

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning" (2016), section 3.

    >>> import torch
    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(matching_similarity(a, 2 * a.flip(1) + 1), 4)
    1.0
    """
    a, b = check_representations(a, b)
    if max(a.shape[1], b.shape[1]) > MOST_UNITS:
        raise InvalidInputError(
            f"{max(a.shape[1], b.shape[1])} units are too many to match, at most {MOST_UNITS}; average over positions"
        )
    found = match_units(activation_statistics(a.double(), b.double()).live().between, method=method)
    return float(found.scores[found.permutation >= 0].mean())
