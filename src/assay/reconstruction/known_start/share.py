"""Share of the initial weights that is left after training with weight decay."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from assay.core import InvalidInputError, Parameters, symmetric_eigenpairs

_MAX_ROWS, _MAX_DIRECTIONS = 512, 100
_MAX_ITER, _CONVERGED = 10, 1e-12
_ONE = 1e-4  # how near to 1 a share counts as 1
_LOW_RANK = 0.99  # correlation of what is not projected out, from which the displacement counts as of low rank
_SMALLEST_VARIANCE = 1e-16


def start_share(start: Parameters, end: Parameters) -> tuple[float, dict[str, float]]:
    r"""Measure the share s of the initial weights that training with weight decay has left.

    Training moves a layer's weights in few directions, $W_1 = s W_0 + \Delta$ with $\Delta$ of low rank. Let $V$ be the
    first right singular vectors of $W_1 - s W_0$, and $A' = A - A V V^\top$: then
    $s \leftarrow \langle W_0', W_1' \rangle / \langle W_0', W_0' \rangle$, from the regression on all
    entries until s stays (sped up by Steffensen's rule). Half of the smaller dimension is projected out, 100 directions
    at most. Of a layer with more than 512 rows, 512 are read. Tensors are averaged by their inverse variances.

    Cost: time O(r^3) for each matrix of r <= 512 rows and O(r^2 d) for its d columns, in float64.

    Args:
        start: Initial weights by name.
        end: Trained weights by name.

    Returns:
        The share over all tensors, and by tensor. One that it cannot be measured in, such as a bias or a layer whose
        displacement has no low rank, takes the share over all. Within 1e-4 of one it counts as one; the share of an
        unchanged tensor is one.

    Raises:
        InvalidInputError: The two differ in names or shapes.

    >>> w, step = torch.eye(6) + torch.arange(6.0).diag(1)[:6, :6], torch.ones(6, 6)
    >>> round(start_share({"w": w}, {"w": 0.9 * w + step})[0], 6)
    0.9
    """
    if start.keys() != end.keys() or any(start[name].shape != value.shape for name, value in end.items()):
        raise InvalidInputError("start and end must have the same names and shapes; pass weights of one network")
    changed = [name for name, value in end.items() if not torch.equal(start[name].to(value), value)]
    if not changed:
        return 1.0, dict.fromkeys(end, 1.0)
    found = {
        name: share_of_matrix(start[name].flatten(1), end[name].flatten(1)) for name in changed if _is_matrix(end[name])
    }
    if found:
        precision = sum(1 / each.variance for each in found.values())
        whole = sum(each.share / each.variance for each in found.values()) / precision
    else:
        pairs = [(start[name].double().flatten(), end[name].double().flatten()) for name in changed]
        whole = float(sum(a @ b for a, b in pairs) / max(float(sum(a @ a for a, _ in pairs)), _SMALLEST_VARIANCE))
    whole = near_one(whole)
    shares = {name: whole if name in changed else 1.0 for name in end}
    shares |= {name: near_one(each.share) for name, each in found.items() if each.correlation > _LOW_RANK}
    return whole, shares


def _is_matrix(value: Tensor) -> bool:
    return value.ndim > 1 and min(value.flatten(1).shape) > 1


def near_one(share: float) -> float:
    """Return a share as one where it is within 1e-4 of it: rounding, not weight decay, keeps it from that."""
    return 1.0 if abs(share - 1) < _ONE else share


@dataclass(frozen=True)
class MatrixShare:
    """Hold the share of the initial weights that is left in one matrix.

    Attributes:
        share: The share.
        variance: Variance of its estimate.
        correlation: Correlation of start and end outside the displacement.
    """

    share: float
    variance: float
    correlation: float


def share_of_matrix(
    start: Float[Tensor, "h d"], end: Float[Tensor, "h d"], *, directions: int | None = None
) -> MatrixShare:
    """Measure the share of the initial weights in one matrix, see `start_share`.

    Args:
        start: Initial weights.
        end: Trained weights.
        directions: Rank of the displacement, where it is known; else half of the smaller dimension is projected out,
            100 directions at most.

    >>> start = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    >>> round(share_of_matrix(start, 0.9 * start + torch.ones(20, 30)).share, 6)
    0.9
    """
    a, b = (_few_rows(value.detach().double()) for value in (start, end))
    n = min(len(a) // 2, _MAX_DIRECTIONS) if directions is None else min(len(a) - 1, directions)
    outside = _Outside(a @ a.T, a @ b.T, b @ b.T, max(1, n))
    energy = float(outside.aa.trace())
    if energy <= 0:
        return MatrixShare(0.0, 1.0, 0.0)
    share, rest_a, rest_b = float(outside.ab.trace()) / energy, 0.0, 0.0
    # A fixed point that is approached linearly; Steffensen's rule makes that quadratic.
    for _ in range(_MAX_ITER):
        once = outside.regress(share)[0]
        twice, rest_a, rest_b = outside.regress(once)
        if rest_a <= _SMALLEST_VARIANCE * energy:
            return MatrixShare(1.0, 1.0, 0.0)  # the displacement spans all that the matrix reads
        first, second = once - share, twice - once
        share = twice if abs(second) >= 0.9 * abs(first) else twice + second**2 / (first - second)
        if abs(second) < _CONVERGED:
            break
    correlation = share * (rest_a / max(rest_b, _SMALLEST_VARIANCE)) ** 0.5
    variance = (rest_b / rest_a - share**2) / a.numel()
    return MatrixShare(share, max(variance, _SMALLEST_VARIANCE), correlation)


@dataclass(frozen=True, eq=False)
class _Outside:
    """Regression of the end on the start outside the strongest directions of the displacement, from products of rows.

    The displacement D = b - s a has right singular vectors V = D^T U / sqrt(values), U those of D D^T, so that no
    matrix of the columns' size is needed.
    """

    aa: Tensor
    ab: Tensor
    bb: Tensor
    n: int

    def regress(self, share: float) -> tuple[float, float, float]:
        """Return the next share, and the energies of start and end that are left."""
        values, vectors = symmetric_eigenpairs(self.bb - share * (self.ab + self.ab.T) + share**2 * self.aa)
        kept = values[-self.n :] > 1e-14 * (self.aa.trace() + self.bb.trace())
        directions = vectors[:, -self.n :][:, kept] / values[-self.n :][kept].sqrt()
        along_a = (self.ab - share * self.aa) @ directions
        along_b = (self.bb - share * self.ab.T) @ directions
        rest_a = float(self.aa.trace() - along_a.square().sum())
        rest_b = float(self.bb.trace() - along_b.square().sum())
        rest = float(self.ab.trace() - (along_a * along_b).sum())
        return rest / rest_a if rest_a > 0 else share, rest_a, rest_b


def _few_rows(matrix: Float64[Tensor, "h d"]) -> Float64[Tensor, "r k"]:
    """Return a matrix with at most 512 rows, no more than columns: a part of the rows has the same row space."""
    matrix = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    return matrix[:: -(-len(matrix) // _MAX_ROWS)]
