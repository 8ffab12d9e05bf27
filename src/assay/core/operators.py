"""Symmetric matrix-free linear operators: products, sums, preconditioning and SciPy's form."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from assay.core.errors import InvalidInputError

KEPT_BYTES = 2**30  # of graphs that an operator keeps between products


class MatrixFree(ABC):
    """A symmetric matrix, given by its products with vectors.

    `operator @ v` takes a vector `(p,)` or columns `(p, k)`; sums and multiples are operators again.

    >>> operator = DenseOperator(torch.eye(3))
    >>> ((operator + 2 * operator) @ torch.ones(3)).tolist()
    [3.0, 3.0, 3.0]
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = (size, size)
        self.dtype = dtype
        self.device = device

    @abstractmethod
    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """Return the product with every column."""

    @contextmanager
    def prepared(self, *, limit: int = KEPT_BYTES) -> Iterator[None]:
        """Keep between products what they share, within a limit in bytes; nothing for an explicit matrix.

        The network must stay as it is inside.
        """
        del limit
        yield

    @torch.inference_mode(False)
    def __matmul__(self, other: Float[Tensor, "p *k"]) -> Float[Tensor, "p *k"]:
        if other.ndim not in (1, 2) or other.shape[0] != self.shape[1] or other.dtype != self.dtype:
            raise InvalidInputError(
                f"the operator is {self.shape[0]} x {self.shape[1]} of {self.dtype}; it cannot multiply a tensor of "
                f"shape {tuple(other.shape)} and dtype {other.dtype}: pass (p,) or (p, k) of the operator's dtype"
            )
        return self.multiply(other.reshape(self.shape[1], -1)).reshape(other.shape)

    def __add__(self, other: "MatrixFree") -> "MatrixFree":
        return _Combination(self, other, 1.0, 1.0)

    def __sub__(self, other: "MatrixFree") -> "MatrixFree":
        return _Combination(self, other, 1.0, -1.0)

    def __rmul__(self, factor: float) -> "MatrixFree":
        return _Combination(self, self, float(factor), 0.0)

    def preconditioned(self, diagonal: Float[Tensor, " p"]) -> "MatrixFree":
        r"""Return $D^{-1/2} A D^{-1/2}$ for a positive diagonal $D$, with the eigenvalues of $D^{-1} A$.

        With the square roots of Adam's second moments as the diagonal, its largest eigenvalue sets the limit of Adam's
        learning rate.

        Raises:
            InvalidInputError: The diagonal does not fit the operator, or is not positive.
        """
        return _Preconditioned(self, diagonal)

    @torch.inference_mode(False)
    def to_dense(self, *, columns: int = 128) -> Float[Tensor, "p p"]:
        """Return the dense matrix, from products with `columns` columns of the identity at a time; memory O(p²)."""
        identity = torch.eye(self.shape[0], dtype=self.dtype, device=self.device)
        with self.prepared():
            return torch.cat([self @ part for part in identity.split(columns, dim=1)], dim=1)

    def to_scipy(self) -> LinearOperator:
        """Return the operator in SciPy's form, for `scipy.sparse.linalg` solvers."""
        return _SciPyOperator(self)


class _SciPyOperator(LinearOperator):
    def __init__(self, operator: MatrixFree) -> None:
        self.operator = operator
        super().__init__(torch.empty(0, dtype=operator.dtype).numpy().dtype, operator.shape)

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        columns = torch.as_tensor(X, dtype=self.operator.dtype, device=self.operator.device)
        return (self.operator @ columns).cpu().numpy()

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        return self._matmat(X)


@final
class DenseOperator(MatrixFree):
    """A dense symmetric matrix as an operator.

    >>> (DenseOperator(torch.diag(torch.tensor([1.0, 2.0]))) @ torch.ones(2)).tolist()
    [1.0, 2.0]
    """

    def __init__(self, matrix: Float[Tensor, "p p"]) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not torch.allclose(matrix, matrix.T):
            raise InvalidInputError(
                f"an operator needs a symmetric square matrix, got shape {tuple(matrix.shape)}; symmetrise it first"
            )
        super().__init__(len(matrix), matrix.dtype, matrix.device)
        self.matrix = matrix

    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """Return the product with every column."""
        return self.matrix @ columns


@final
class _Combination(MatrixFree):
    def __init__(self, left: MatrixFree, right: MatrixFree, a: float, b: float) -> None:
        if left.shape != right.shape or left.dtype != right.dtype:
            raise InvalidInputError(
                f"operators of {left.shape} {left.dtype} and {right.shape} {right.dtype} cannot be combined; "
                "build both on the same model and dtype"
            )
        super().__init__(left.shape[0], left.dtype, left.device)
        self.terms = [(factor, operator) for factor, operator in ((a, left), (b, right)) if factor]

    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        product = torch.zeros_like(columns)
        for factor, operator in self.terms:
            product += factor * (operator @ columns)
        return product


@final
class _Preconditioned(MatrixFree):
    def __init__(self, operator: MatrixFree, diagonal: Tensor) -> None:
        if diagonal.shape != operator.shape[:1] or diagonal.dtype != operator.dtype or not (diagonal > 0).all():
            raise InvalidInputError(
                f"a preconditioner needs {operator.shape[0]} positive numbers of {operator.dtype}, got shape "
                f"{tuple(diagonal.shape)} of {diagonal.dtype} with smallest entry "
                f"{diagonal.min().item() if diagonal.numel() else 'none'}; add a small constant to the diagonal"
            )
        super().__init__(operator.shape[0], operator.dtype, operator.device)
        self.operator = operator
        self.scale = diagonal.rsqrt()[:, None].to(operator.device)

    @contextmanager
    def prepared(self, *, limit: int = KEPT_BYTES) -> Iterator[None]:
        """Prepare the operator inside."""
        with self.operator.prepared(limit=limit):
            yield

    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """Return the product with every column."""
        return self.scale * (self.operator @ (self.scale * columns))
