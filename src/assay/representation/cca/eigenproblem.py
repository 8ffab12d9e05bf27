"""Generalised eigenvalue problem of CCA and PLS, solved exactly (Chapman, Wells and Lawry Aguila, 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_finite, symmetric_eigenpairs
from assay.representation.cca.eckart_young import check_views, ridges


@dataclass(frozen=True, eq=False)
class GEPSubspace:
    r"""The largest eigenvalues of $A u = \lambda B u$ and their eigenvectors.

    Attributes:
        eigenvalues: In descending order.
        vectors: In columns, with $U^\top B U = I$.
    """

    eigenvalues: Float[Tensor, " k"]
    vectors: Float[Tensor, "d k"]


def gep_subspace(a: Float[Tensor, "d d"], b: Float[Tensor, "d d"], k: int) -> GEPSubspace:
    r"""Solve $A u = \lambda B u$ for the k largest eigenvalues.

    B is whitened on its range, so that a singular B is allowed: directions in its null space are left out.

    Cost: time O(d³), memory O(d²), in float64.

    Args:
        a: Symmetric matrix A.
        b: Symmetric positive semidefinite matrix B.
        k: Number of eigenpairs.

    Returns:
        Eigenvalues and eigenvectors, in the type of `a`.

    Raises:
        InvalidInputError: The matrices are not symmetric or not of one shape, B is indefinite or of a rank below k.
        NumericalError: The result is not finite.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), section on background: generalised
    eigenvalue problems; the whitening is standard.

    >>> gep_subspace(torch.diag(torch.tensor([2.0, 9.0])), torch.diag(torch.tensor([1.0, 3.0])), 1).eigenvalues
    tensor([3.])
    """
    check_count(k, "k")
    for name, matrix in (("a", a), ("b", b)):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape != a.shape or not matrix.numel():
            raise InvalidInputError(f"a and b must be square and of one shape, got {name} of {tuple(matrix.shape)}")
        if not torch.allclose(matrix, matrix.mT, atol=1e-5 * float(matrix.abs().max())):
            raise InvalidInputError(f"{name} is not symmetric; take ({name} + {name}.mT) / 2")
    whitening = whiten(b.double())
    if whitening.shape[1] < k:
        raise InvalidInputError(f"b has the rank {whitening.shape[1]}, below k = {k}; add a ridge, or lower k")
    values, vectors = symmetric_eigenpairs(whitening.mT @ a.double() @ whitening)
    values, vectors = values.flip(0)[:k], whitening @ vectors.flip(1)[:, :k]
    check_finite(vectors, "the eigenvectors")
    return GEPSubspace(values.to(a.dtype), vectors.to(a.dtype))


def cca_gep(
    views: Sequence[Float[Tensor, "n _"]], *, ridge: float | Sequence[float] = 0.0
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    r"""Build the matrices A and B whose top generalised eigenspace is that of CCA, PLS or canonical ridge.

    With the columns of all views side by side, A has the blocks $\operatorname{Cov}(X_i, X_j)$ off the diagonal and
    zeros on it, and B the blocks $(1 - \alpha_i) \operatorname{Var}(X_i) + \alpha_i I$ on the diagonal. $\alpha = 0$
    is CCA (of several views: SUMCOR), $\alpha = 1$ PLS. The eigenvalues for two views are plus and minus the canonical
    correlations, or the singular values of the cross-covariance.

    Cost: time O(n d²), memory O(d²), d the columns of all views.

    Args:
        views: Two or more views of the same samples.
        ridge: $\alpha$ in [0, 1], one for all views or one each.

    Returns:
        A and B.

    Raises:
        InvalidInputError: Fewer than two views or samples, other shapes, or a ridge outside [0, 1].

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), section on background: CCA as a
    generalised eigenvalue problem.

    >>> x = torch.tensor([[1.0], [-1.0], [0.0]])
    >>> cca_gep([x, 2 * x])[0].tolist(), cca_gep([x, 2 * x])[1].tolist()
    ([[0.0, 2.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 4.0]])
    """
    check_views(views)
    alphas = ridges(ridge, len(views))
    sizes = [view.shape[1] for view in views]
    joint = torch.cat([view - view.mean(0) for view in views], 1)
    covariance = joint.mT @ joint / (len(joint) - 1)
    within = torch.block_diag(*(block(covariance, sizes, i, i) for i in range(len(sizes))))
    shrinkage = torch.cat([joint.new_full((d,), alpha) for d, alpha in zip(sizes, alphas, strict=True)])
    return covariance - within, (1 - shrinkage)[:, None] * within + torch.diag(shrinkage)


def block(matrix: Tensor, sizes: Sequence[int], i: int, j: int) -> Tensor:
    """Return the block of views i and j of a matrix over all views' columns."""
    return matrix.split(list(sizes), 0)[i].split(list(sizes), 1)[j]


def whiten(b: Float[Tensor, "d d"]) -> Float[Tensor, "d r"]:
    r"""Return T with $T^\top B T = I$ on the range of B.

    Raises:
        InvalidInputError: B has an eigenvalue below zero, beyond rounding.
    """
    values, vectors = symmetric_eigenpairs(b)
    largest = max(float(values.abs().max()), torch.finfo(values.dtype).tiny)
    if values[0] < -1e-6 * largest:
        raise InvalidInputError(f"b must be positive semidefinite; its smallest eigenvalue is {float(values[0]):.3g}")
    kept = values > 10 * len(values) * torch.finfo(values.dtype).eps * largest
    return vectors[:, kept] / values[kept].sqrt()
