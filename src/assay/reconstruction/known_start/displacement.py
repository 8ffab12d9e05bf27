"""Displacement of a first layer from its known initial weights: share of the start that is left, rank, and basis."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError
from assay.reconstruction.known_start.share import near_one, share_of_matrix

ROUNDING_GROWTH = 1000.0
"""How far rounding in many steps of training may rise above that of stored weights."""

ABOVE_ROUNDING = 1.5
"""Least ratio of a direction of the data to the rounding of weights that are stored in half precision."""

STILL = 1e-4
"""Length of a row or column, relative to the longest, up to which it counts as not moved."""

UNMISTAKABLE = 6.0
"""Standard errors that unrelated weights exceed once in a billion."""


CONVERGED = 1e-12
"""Change of the share at which it is taken as found; weights are not told apart to less."""

CLOSEST = 1 - 1e-15
"""Largest correlation whose transform is taken."""


@dataclass(frozen=True, eq=False)
class Displacement:
    r"""Hold what a first layer tells of its training, its initial weights being known.

    Attributes:
        share: Share s of the initial weights that is left; 1 without weight decay.
        correlation: Cosine of the final and the initial weights.
        z_score: Fisher's transform of it, in its standard errors where the initial weights were drawn for another
            network.
        values: Singular values of $W_1 - s W_0$, in descending order.
        floor: Size of a singular value that rounding of the stored weights explains.
        rank: Number of singular values above the jump down to rounding: that of the training samples, if they are
            linearly independent. 0 where there is no such jump.
        basis: Orthonormal rows that span the data, `(rank, d)`.
    """

    share: float
    correlation: float
    z_score: float
    values: Float[Tensor, " k"]
    floor: float
    rank: int
    basis: Float[Tensor, "r d"]

    @property
    def from_start(self) -> bool:
        """Whether the final weights still hold the initial ones."""
        return self.z_score > UNMISTAKABLE


def measure_displacement(
    start: Float[Tensor, "h d"], end: Float[Tensor, "h d"], *, share: float | Literal["auto"] = "auto"
) -> Displacement:
    r"""Compare the weights of a first layer with its initial weights.

    Gradient descent moves every row of the weights W by combinations of the n training inputs, and weight decay scales
    all of it down, so that $W_1 - s W_0$ has rank n. The share s is measured as by `start_share`, first outside up to
    100 directions and then outside n.

    Beyond n the singular values drop to the rounding of the weights: n is where their ratio is largest, among the
    first three quarters of those that the moved rows and columns allow; in weights that were stored in half precision,
    the number of values above 1.5 times the largest that rounding explains.

    Cost: time O(h d min(h, d)), memory O(h d), in float64.

    Args:
        start: Initial weights.
        end: Trained weights.
        share: The share, if known.

    Raises:
        InvalidInputError: The shapes differ, or are not those of matrices.

    >>> start = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    >>> measure_displacement(start, 0.9 * start + torch.outer(start[:, 0], start[1])).rank
    1
    """
    if start.shape != end.shape or start.ndim != 2 or not start.numel():
        raise InvalidInputError(
            f"start and end must be weights of the same dense layer, got shapes {tuple(start.shape)} and "
            f"{tuple(end.shape)}; pass the weights before and after training"
        )
    before, after = start.detach().double(), end.detach().double()
    floor = rounding_floor(end)
    left = near_one(share_of_matrix(before, after).share) if share == "auto" else float(share)
    rank = _rank(after - left * before, floor, low_precision=_precision(end) > torch.finfo(torch.float32).eps)
    if rank and share == "auto":
        left = near_one(share_of_matrix(before, after, directions=rank).share)
    _, values, right = _svd(after - left * before)
    correlation, z_score = _correlation(before, after)
    return Displacement(left, correlation, z_score, values, floor, rank, right[:rank])


def rounding_floor(weight: Float[Tensor, "h d"]) -> float:
    r"""Return the largest singular value of the rounding of stored weights, about $\sigma (\sqrt{h} + \sqrt{d})$.

    The rounding of an entry w is uniform within half a unit of its last place, $\epsilon 2^{\lfloor\log_2 |w|\rfloor}$;
    $\sigma^2$ is the mean of its variance. Weights whose values are those of a half precision were stored in it.

    >>> rounding_floor(torch.ones(4, 4).half() / 3) > 1000 * rounding_floor(torch.ones(4, 4) / 3)
    True
    """
    place = torch.where(weight == 0, 0.0, torch.exp2(weight.detach().double().abs().log2().floor()))
    sigma = _precision(weight) * float(place.square().mean().sqrt()) / math.sqrt(12)
    return sigma * (math.sqrt(len(weight)) + math.sqrt(weight.shape[1]))


def _precision(weight: Tensor) -> float:
    """Return the unit of the coarsest type that holds the weights exactly."""
    for kind in (torch.bfloat16, torch.float16, torch.float32):
        if torch.equal(weight.to(kind).to(weight.dtype), weight):
            return torch.finfo(kind).eps
    return max(torch.finfo(weight.dtype).eps, CONVERGED)


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.linalg.svd(matrix, full_matrices=False)


def _correlation(start: Tensor, end: Tensor) -> tuple[float, float]:
    """Return the cosine of two matrices, and its Fisher transform in standard errors."""
    norm = float(start.norm() * end.norm())
    cosine = float((start * end).sum()) / norm if norm else 0.0
    return cosine, math.atanh(min(max(cosine, -CLOSEST), CLOSEST)) * math.sqrt(max(start.numel() - 3, 1))


def _n_moved(lengths: Float[Tensor, " k"], floor: float) -> int:
    return int((lengths > max(floor, STILL * float(lengths.max()))).sum())


def _rank(moved: Float[Tensor, "h d"], floor: float, *, low_precision: bool) -> int:
    # Inputs that are always zero and units that never fire leave zeros at the end, whatever the training.
    size = min(_n_moved(moved.norm(dim=side), floor) for side in (0, 1)) * 3 // 4
    values = _svd(moved)[1]
    if low_precision:
        rank = int((values > ABOVE_ROUNDING * floor).sum())
        return rank if rank <= size else 0
    values = values.clamp_min(floor)
    ratios = (values[:-1] / values[1:])[:size]
    ratios = torch.where(values[1:][:size] <= ROUNDING_GROWTH * floor, ratios, 0.0)
    return int(ratios.argmax()) + 1 if len(ratios) and float(ratios.max()) > ABOVE_ROUNDING else 0
