"""Share of the initial weights that is left after training with weight decay."""

import torch
from jaxtyping import Float64
from torch import Tensor

from assay.core import InvalidInputError, Parameters

_MAX_ROWS, _MAX_DIRECTIONS = 512, 100
_MAX_ITER, _CONVERGED = 50, 1e-11
_ONE = 1e-4  # how near to 1 a share counts as 1
_LOW_RANK = 0.99  # correlation of what is not projected out, from which the displacement counts as of low rank
_SMALLEST_VARIANCE = 1e-16


def start_share(start: Parameters, end: Parameters) -> tuple[float, dict[str, float]]:
    r"""Measure the share s of the initial weights that training with weight decay has left.

    Training moves a layer's weights in few directions, $W_1 = s W_0 + \Delta$ with $\Delta$ of low rank. Let $V$ be the
    first right singular vectors of $W_1 - s W_0$, and $A' = A - A V V^\top$: then
    $s \leftarrow \langle W_0', W_1' \rangle / \langle W_0', W_0' \rangle$, from the regression on all
    entries until s stays. Half of the smaller dimension is projected out, 100 directions at most. Of a layer with more
    than 512 rows, 512 are read. Tensors are averaged by their inverse variances.

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
    found = {name: _share_of_matrix(start[name], end[name]) for name in changed if _is_matrix(end[name])}
    if found:
        precision = sum(1 / variance for _, variance, _ in found.values())
        whole = sum(share / variance for share, variance, _ in found.values()) / precision
    else:
        pairs = [(start[name].double().flatten(), end[name].double().flatten()) for name in changed]
        whole = float(sum(a @ b for a, b in pairs) / max(float(sum(a @ a for a, _ in pairs)), _SMALLEST_VARIANCE))
    whole = _near_one(whole)
    shares = {name: whole if name in changed else 1.0 for name in end}
    shares |= {name: _near_one(share) for name, (share, _, correlation) in found.items() if correlation > _LOW_RANK}
    return whole, shares


def _is_matrix(value: Tensor) -> bool:
    return value.ndim > 1 and min(value.flatten(1).shape) > 1


def _near_one(share: float) -> float:
    return 1.0 if abs(share - 1) < _ONE else share


def _share_of_matrix(start: Tensor, end: Tensor) -> tuple[float, float, float]:
    """Return the share in one matrix, its variance, and the correlation of start and end outside the displacement."""
    a, b = (_few_rows(value.double().flatten(1)) for value in (start, end))
    n = min(len(a) // 2, _MAX_DIRECTIONS)
    aa, ab, bb = a @ a.T, a @ b.T, b @ b.T
    rest_a, rest_b = float(aa.trace()), float(bb.trace())
    if rest_a <= 0:
        return 0.0, 1.0, 0.0
    share = float(ab.trace()) / rest_a
    for _ in range(_MAX_ITER):
        # The displacement D = b - share a has V = D^T U / sqrt(values), so that no d x d matrix is needed.
        values, vectors = torch.linalg.eigh(bb - share * (ab + ab.T) + share**2 * aa)
        kept = values[-n:] > 1e-14 * (aa.trace() + bb.trace())
        directions = vectors[:, -n:][:, kept] / values[-n:][kept].sqrt()
        along_a, along_b = (ab - share * aa) @ directions, (bb - share * ab.T) @ directions
        rest_a, rest_b = (float(m.trace() - part.square().sum()) for m, part in ((aa, along_a), (bb, along_b)))
        if rest_a <= 0:
            return share, 1.0, 0.0
        before, share = share, float(ab.trace() - (along_a * along_b).sum()) / rest_a
        if abs(share - before) < _CONVERGED:
            break
    correlation = share * (rest_a / max(rest_b, _SMALLEST_VARIANCE)) ** 0.5
    variance = (rest_b / rest_a - share**2) / a.numel()
    return share, max(variance, _SMALLEST_VARIANCE), correlation


def _few_rows(matrix: Float64[Tensor, "h d"]) -> Float64[Tensor, "r k"]:
    """Return a matrix with at most 512 rows, no more than columns: a part of the rows has the same row space."""
    matrix = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    return matrix[:: -(-len(matrix) // _MAX_ROWS)]
