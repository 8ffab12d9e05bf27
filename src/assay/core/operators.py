"""Symmetric matrix-free linear operators, the Hessian and the Gauss-Newton matrix."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn

from assay.core.checks import check_count, check_pairs
from assay.core.derivatives import batched, one_by_one, pull_back, push_forward
from assay.core.errors import InvalidInputError
from assay.core.leaves import check_reached, leaves
from assay.core.look import check_outputs
from assay.core.losses import LossFunction
from assay.core.objective import mean_over_samples
from assay.core.parameters import Selection, flatten, named_parameters, unflatten, unwrapped

Product = Callable[[list[Tensor]], list[Tensor]]


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

    @torch.inference_mode(False)
    def to_dense(self, *, columns: int = 128) -> Float[Tensor, "p p"]:
        """Return the dense matrix, from products with `columns` columns of the identity at a time; memory O(p²)."""
        identity = torch.eye(self.shape[0], dtype=self.dtype, device=self.device)
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


class _LossCurvature(MatrixFree):
    """Sum over batches of a curvature matrix of the mean loss, each batch weighted by its size."""

    def __init__(
        self,
        model: nn.Module,
        x: Shaped[Tensor, "n *d"],
        y: Tensor,
        loss: LossFunction,
        *,
        params: Selection = "trainable",
        batch_size: int | None = None,
    ) -> None:
        self.x, self.y = check_pairs(x, y, tokens=True)
        check_outputs(model, self.x)
        self.model = model
        self.loss = mean_over_samples(loss, model, self.x, self.y)
        self.batch_size = len(x) if batch_size is None else batch_size
        check_count(self.batch_size, "batch_size")
        self.params = named_parameters(model, params=params)
        theta = flatten(self.params)
        # Vectors of half precision are too coarse for sums and for orthogonal directions.
        super().__init__(theta.numel(), torch.promote_types(theta.dtype, torch.float32), theta.device)

    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """Return the product with every column, one batch of samples after the other."""
        rows = columns.T.contiguous()  # with a direction's entries next to each other, kernels need no copies
        with leaves(self.model, self.params.keys()) as params:
            total = torch.zeros_like(rows)
            weights = list(params.values())
            each = one_by_one if len(rows) == 1 else batched
            for x, y in zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True):
                outputs = unwrapped(self.model)(x)
                check_reached(outputs)
                product = self.batch_product(outputs, y, weights)

                def row(vector: Tensor, product: Product = product) -> Tensor:
                    pieces = product(list(unflatten(vector, params).values()))
                    return torch.cat([piece.reshape(-1).to(vector.dtype) for piece in pieces])

                total += len(x) / len(self.x) * each(row, 0)(rows)
        return total.T

    @abstractmethod
    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's curvature with a direction, given as one tensor a parameter."""


@final
class HessianOperator(_LossCurvature):
    r"""The Hessian $\nabla^2_\theta \frac1n\sum_i \ell(f(x_i), y_i)$ of a network's mean loss.

    Args:
        model: Network, evaluated in evaluation mode; it comes back as it was. The operator follows its weights.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, see `mean_over_samples`.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        batch_size: Samples differentiated at once; all by default.

    Raises:
        InvalidInputError: The model or the data are unusable; the message says why.

    Cost: time O(n p) for a product with one column, memory O(`batch_size` p) times the number of columns.

    >>> from assay.core.losses import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> HessianOperator(layer, torch.tensor([[3.0]]), torch.zeros(1), squared_error).to_dense().tolist()
    [[18.0]]
    """

    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's Hessian with a direction, reverse over reverse."""
        slopes = pull_back([self.loss(outputs, y)], weights, create_graph=True)
        return lambda direction: pull_back(slopes, weights, direction)


@final
class GaussNewtonOperator(_LossCurvature):
    r"""The generalised Gauss-Newton matrix $\frac1n\sum_i J_i^\top \nabla^2_f \ell_i\, J_i$.

    It is positive semi-definite for a convex loss. Arguments, cost and errors are those of `HessianOperator`.

    Source: Schraudolph (2002), "Fast curvature matrix-vector products for second-order gradient descent", main text:
    the product with the extended Gauss-Newton matrix.

    >>> from assay.core.losses import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> GaussNewtonOperator(layer, torch.tensor([[3.0]]), torch.zeros(1), squared_error).to_dense().tolist()
    [[18.0]]
    """

    def batch_product(self, outputs: Tensor, y: Tensor, weights: list[Tensor]) -> Product:
        """Return the product of one batch's Gauss-Newton matrix with a direction, from right to left."""
        forward = push_forward(outputs, weights)
        point = outputs.detach().requires_grad_()
        slopes = pull_back([self.loss(point, y)], [point], create_graph=True)

        def product(direction: list[Tensor]) -> list[Tensor]:
            curved = pull_back(slopes, [point], [forward(direction)])
            return pull_back([outputs], weights, curved)

        return product
