"""Largest eigenvalues and eigenvectors of a matrix-free operator, by restarted Lanczos (Lehoucq et al., 1998)."""

import torch
from jaxtyping import Float
from scipy.sparse.linalg import eigsh
from torch import Tensor

from assay.core import InvalidInputError, MatrixFree, as_generator, check_count, check_finite, symmetric_eigenpairs


@torch.inference_mode(False)
def top_eigenpairs(
    operator: MatrixFree, k: int, *, tolerance: float = 1e-6, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, " k"], Float[Tensor, "p k"]]:
    r"""Compute the k largest eigenvalues of $A v = \lambda v$ with their eigenvectors, by SciPy's `eigsh`.

    Args:
        operator: Symmetric p x p operator.
        k: Eigenpairs, at most p.
        tolerance: Relative error of an eigenvalue at which it counts as converged.
        generator: Source of the starting vector; one seeded with 0 by default.

    Returns:
        Eigenvalues in descending order, and unit eigenvectors as columns.

    Raises:
        InvalidInputError: `k` is below one or above p.
        NumericalError: A product is NaN or infinite.

    Cost: some multiple of k products, more where eigenvalues lie close together; memory O(k p).

    Source: Lehoucq, Sorensen and Yang (1998), "ARPACK Users' Guide", chapter 4: implicitly restarted Lanczos.

    >>> from assay.core import DenseOperator
    >>> values, vectors = top_eigenpairs(DenseOperator(torch.diag(torch.tensor([1.0, 2.0, 4.0]))), 1)
    >>> round(values.item(), 4), vectors.abs().round(decimals=4).T.tolist()
    (4.0, [[0.0, 0.0, 1.0]])
    """
    check_count(k, "k")
    size = operator.shape[0]
    if k > size:
        raise InvalidInputError(f"k must be at most {size}, the operator's size, got {k}")
    source = as_generator(generator)
    start = torch.randn(size, generator=source, dtype=torch.float64, device=source.device).to(operator.dtype)
    with operator.prepared():
        check_finite(operator @ start.to(operator.device), "a product with the operator")
        if 2 * k + 1 >= size:  # ARPACK's basis would fill the space
            values, vectors = symmetric_eigenpairs(operator.to_dense())
            return values.flip(0)[:k], vectors.flip(1)[:, :k]
        values, vectors = eigsh(operator.to_scipy(), k, which="LA", tol=tolerance, v0=start.cpu().numpy())  # pyright: ignore[reportArgumentType]
    order = values.argsort()[::-1]
    place = {"dtype": operator.dtype, "device": operator.device}
    return torch.as_tensor(values[order].copy(), **place), torch.as_tensor(vectors[:, order].copy(), **place)
