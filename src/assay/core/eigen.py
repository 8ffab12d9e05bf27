"""Eigenvalues of dense symmetric matrices."""

import torch
from jaxtyping import Float
from torch import Tensor


def symmetric_eigenvalues(matrix: Float[Tensor, "*k p p"]) -> Float[Tensor, "*k p"]:
    """Compute the eigenvalues of symmetric matrices in ascending order, see `symmetric_eigenpairs`.

    >>> symmetric_eigenvalues(torch.tensor([[2.0, 1.0], [1.0, 2.0]])).tolist()
    [1.0, 3.0]
    """
    return torch.linalg.eigvalsh(_symmetric(matrix)).to(_type(matrix))


def symmetric_eigenpairs(matrix: Float[Tensor, "*k p p"]) -> tuple[Float[Tensor, "*k p"], Float[Tensor, "*k p p"]]:
    """Compute the eigenvalues of symmetric matrices in ascending order, and unit eigenvectors as columns.

    The work is done in float64: PyTorch's solver in float32 stops with an error on one in fourteen Hessians of a small
    network on a few samples, whose eigenvalues are almost all zero.

    Args:
        matrix: Symmetric up to rounding; the mean of both triangles is taken.

    Returns:
        In the matrix's type, or float32 where that is narrower.

    Cost: time O(p³), memory a copy of the matrix in float64.

    >>> values, vectors = symmetric_eigenpairs(torch.diag(torch.tensor([2.0, 1.0])))
    >>> values.tolist(), vectors.abs().tolist()
    ([1.0, 2.0], [[0.0, 1.0], [1.0, 0.0]])
    """
    values, vectors = torch.linalg.eigh(_symmetric(matrix))
    return values.to(_type(matrix)), vectors.to(_type(matrix))


def _symmetric(matrix: Tensor) -> Tensor:
    wide = matrix.double()
    return (wide + wide.mT) / 2


def _type(matrix: Tensor) -> torch.dtype:
    return torch.promote_types(matrix.dtype, torch.float32)
