"""Reproducibility of decision regions between networks (Somepalli et al., 2022, section 4)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from assay.core import InvalidInputError


@dataclass(frozen=True, eq=False)
class Reproducibility:
    """Agreement of two networks' decision regions.

    Attributes:
        score: Share of grid points with equal predicted class, from 0 to 1.
        standard_error: Of the score, over planes; NaN for a single plane.
        chance: Agreement of independent predictions with the same class frequencies, about one over the number of
            classes: the floor of the score.
        per_plane: Share on each plane.
    """

    score: float
    standard_error: float
    chance: float
    per_plane: Float[Tensor, " n"]

    def __str__(self) -> str:
        return (
            f"The two networks predict the same class at {self.score:.1%} of the points of {len(self.per_plane)} "
            f"planes (standard error {self.standard_error:.1%}); by chance it would be {self.chance:.1%}."
        )


@dataclass(frozen=True, eq=False)
class ReproducibilityMatrix:
    """Mean reproducibility within and across groups of networks.

    Attributes:
        names: Groups, such as architectures.
        scores: Mean score over pairs of different networks, of one group on the diagonal.
        chance: Mean floor of the scores.
    """

    names: tuple[str, ...]
    scores: Float[Tensor, "g g"]
    chance: Float[Tensor, "g g"]

    def __str__(self) -> str:
        rows = [
            f"{a} and {b}: {self.scores[i, j]:.1%} (chance {self.chance[i, j]:.1%})"
            for i, a in enumerate(self.names)
            for j, b in enumerate(self.names)
            if i <= j
        ]
        return "Share of equal predictions. " + "; ".join(rows) + "."


def reproducibility_score(preds_a: Int64[Tensor, "n r r"], preds_b: Int64[Tensor, "n r r"]) -> Reproducibility:
    r"""Compute the reproducibility of two networks, their share of equal predictions on planes.

    $R = \frac1n \sum_p \frac1{r^2} \lvert\{z \in p : f(z) = g(z)\}\rvert$ over n planes of r x r points.

    Args:
        preds_a: One network's classes on n planes of r x r points, from `plane_predictions`.
        preds_b: The other's, on the same planes.

    Returns:
        The score, its standard error over planes, and its chance floor.

    Raises:
        InvalidInputError: The predictions are no class maps, or differ in shape.

    Cost: time and memory O(n r²).

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 4, "Quantifying reproducibility".

    >>> regions = torch.tensor([[[0, 0], [1, 1]]])
    >>> reproducibility_score(regions, 1 - regions).score
    0.0
    """
    check_maps(preds_a, "preds_a")
    check_maps(preds_b, "preds_b")
    if preds_a.shape != preds_b.shape:
        raise InvalidInputError(
            f"preds_a is of shape {tuple(preds_a.shape)}, preds_b of {tuple(preds_b.shape)}; predict both on the same "
            "planes at the same resolution"
        )
    per_plane = (preds_a == preds_b).double().mean((1, 2))
    n = len(per_plane)
    spread = per_plane.std().item() / math.sqrt(n) if n > 1 else math.nan
    n_classes = int(torch.maximum(preds_a.max(), preds_b.max())) + 1
    a, b = (torch.bincount(preds.flatten(), minlength=n_classes).double() for preds in (preds_a, preds_b))
    return Reproducibility(per_plane.mean().item(), spread, (a @ b / a.sum() / b.sum()).item(), per_plane)


def reproducibility_matrix(groups: Mapping[str, Sequence[Int64[Tensor, "n r r"]]]) -> ReproducibilityMatrix:
    """Compute the mean reproducibility of all pairs of networks within and across groups.

    Args:
        groups: Class maps of two or more networks by group, such as the seeds of an architecture, all on the same
            planes.

    Returns:
        The matrix; pairs of a network with itself are left out.

    Raises:
        InvalidInputError: There is no group, one has a single network, or the maps differ in shape.

    Cost: time O(m² n r²) for m networks.

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 4, the table of scores across architectures.

    >>> a, b = torch.zeros(2, 3, 3).long(), torch.ones(2, 3, 3).long()
    >>> reproducibility_matrix({"zeros": [a, a], "ones": [b, b]}).scores.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    small = [name for name, maps in groups.items() if len(maps) < 2]
    if small or not groups:
        raise InvalidInputError(f"each group needs two or more networks, got {small or 'no group'}; add other seeds")
    names = tuple(groups)
    found = torch.zeros(2, len(names), len(names), dtype=torch.float64)
    for i, a in enumerate(names):
        for j, b in enumerate(names[: i + 1]):
            pairs = combinations(groups[a], 2) if i == j else product(groups[a], groups[b])
            scores = [reproducibility_score(*pair) for pair in pairs]
            values = torch.tensor([(score.score, score.chance) for score in scores], dtype=torch.float64).mean(0)
            found[:, i, j] = found[:, j, i] = values
    return ReproducibilityMatrix(names, found[0], found[1])


def check_maps(preds: Tensor, name: str) -> None:
    """Require class indices on planes, of shape (n, r, r)."""
    if not isinstance(preds, Tensor) or preds.dtype != torch.int64 or preds.ndim != 3 or preds.numel() == 0:
        got = f"{preds.dtype} of shape {tuple(preds.shape)}" if isinstance(preds, Tensor) else type(preds).__name__
        raise InvalidInputError(f"{name} must hold int64 classes of shape (n, r, r), got {got}; use plane_predictions")
    if preds.min() < 0:
        raise InvalidInputError(f"{name} holds negative classes; number them from 0")
