"""Lanczos tridiagonalisation with full re-orthogonalisation (Golub and Van Loan, 2013, section 10.3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core.checks import check_count, check_finite
from assay.core.eigen import symmetric_eigenpairs
from assay.core.errors import InvalidInputError
from assay.core.operators import MatrixFree
from assay.core.progress import track
from assay.core.seeding import as_generator


@dataclass(frozen=True, eq=False)
class Tridiagonalization:
    r"""Lanczos's tridiagonal matrices $T = V^\top A V$, one for each of k starting vectors.

    Attributes:
        diagonal: Entries $T_{jj}$.
        off_diagonal: Entries $T_{j,j+1}$.
        residual: Norm of the last product's part outside the Krylov space, $\beta_m$.
    """

    diagonal: Float[Tensor, "k m"]
    off_diagonal: Float[Tensor, "k m-1"]
    residual: Float[Tensor, " k"]

    def first(self, n_iter: int) -> "Tridiagonalization":
        """Return what `n_iter` steps would have given.

        >>> steps = Tridiagonalization(torch.tensor([[2.0, 3.0]]), torch.ones(1, 1), torch.zeros(1))
        >>> steps.first(1).residual.item()
        1.0
        """
        after = torch.cat([self.off_diagonal, self.residual[:, None]], 1)
        return Tridiagonalization(self.diagonal[:, :n_iter], after[:, : n_iter - 1], after[:, n_iter - 1])

    def ritz(self) -> tuple[Float[Tensor, "k m"], Float[Tensor, "k m"], Float[Tensor, "k m"]]:
        r"""Return Ritz values (ascending), their Gauss weights and their error bounds.

        With $T = S \Theta S^\top$ the weights are $S_{1j}^2$, which sum to one, and some eigenvalue of the matrix
        lies within $\beta_m |S_{mj}|$ of $\theta_j$.

        >>> Tridiagonalization(torch.tensor([[2.0]]), torch.zeros(1, 0), torch.zeros(1)).ritz()[0].item()
        2.0
        """
        matrix = torch.diag_embed(self.diagonal.to(torch.promote_types(self.diagonal.dtype, torch.float32)))
        matrix += torch.diag_embed(self.off_diagonal, 1) + torch.diag_embed(self.off_diagonal, -1)
        values, vectors = symmetric_eigenpairs(matrix)
        return values, vectors[:, 0].square(), self.residual[:, None] * vectors[:, -1].abs()


@torch.inference_mode(False)
def lanczos(
    operator: MatrixFree,
    probes: Float[Tensor, "p k"],
    *,
    n_iter: int,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Tridiagonalization:
    r"""Run Lanczos's recurrence $A V = V T + \beta_m v_{m+1} e_m^\top$ from every column of `probes`.

    Every new vector is orthogonalised twice against all earlier ones: without that, converged outliers return as
    "ghost" copies. Where a Krylov space is exhausted, the recurrence restarts from a random vector outside it, so that
    repeated eigenvalues are found too; those have Gauss weight zero.

    Args:
        operator: Symmetric p x p operator.
        probes: Starting vectors, one a column, of the operator's dtype; scaled to norm one here.
        n_iter: Size m of the tridiagonal matrices; cut to p.
        generator: Source of restarts; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        One tridiagonal matrix for each column of `probes`.

    Raises:
        InvalidInputError: `probes` does not fit the operator, a probe is zero, or `n_iter` is below one.
        NumericalError: A product is NaN or infinite.

    Cost: m products with k columns; time O(m² p k) beside them, memory O(m p k), and at most about 1 GiB more for
    graphs that the operator keeps between products.

    Source: Golub and Van Loan, "Matrix Computations", 4th edition, section 10.3.

    >>> from assay.core import DenseOperator
    >>> matrix = torch.diag(torch.tensor([1.0, 2.0, 4.0]))
    >>> [round(value) for value in lanczos(DenseOperator(matrix), torch.ones(3, 1), n_iter=3).ritz()[0][0].tolist()]
    [1, 2, 4]
    """
    start = _unit_rows(operator, probes)
    check_count(n_iter, "n_iter")
    steps = min(n_iter, operator.shape[0])
    source = as_generator(generator)
    n_probes, size = start.shape
    basis = start.new_zeros(n_probes, steps, size)
    diagonal, off_diagonal = start.new_zeros(n_probes, steps), start.new_zeros(n_probes, steps)

    vector = start
    with operator.prepared():
        for step in track(range(steps), "Lanczos", enabled=progress):
            basis[:, step] = vector
            product = (operator @ vector.T.to(operator.dtype)).T.to(start.dtype)
            check_finite(product, "a product with the operator")
            diagonal[:, step] = (product * vector).sum(1)
            following = _outside(product, basis[:, : step + 1])
            length = following.norm(dim=1)
            exhausted = length <= _rounding(diagonal, off_diagonal)
            off_diagonal[:, step] = length.masked_fill(exhausted, 0.0)
            if exhausted.any() and step + 1 < steps:
                fresh = torch.randn(n_probes, size, generator=source, dtype=start.dtype, device=source.device)
                fresh = _outside(fresh.to(start.device), basis[:, : step + 1])
                following = torch.where(exhausted[:, None], fresh, following)
                length = following.norm(dim=1)
            vector = following / length[:, None]
    return Tridiagonalization(diagonal, off_diagonal[:, :-1], off_diagonal[:, -1])


def sign_probes(operator: MatrixFree, probes: int, generator: torch.Generator) -> Float[Tensor, "p k"]:
    """Draw columns of independent random signs, which estimate a trace with less variance than Gaussian ones.

    Raises:
        InvalidInputError: `probes` is not a whole number of at least one.

    >>> from assay.core import DenseOperator, seeded
    >>> sign_probes(DenseOperator(torch.eye(3)), 2, seeded(0)).abs().sum().item()
    6.0
    """
    check_count(probes, "probes")
    shape = (operator.shape[0], probes)
    signs = torch.randint(0, 2, shape, generator=generator, device=generator.device)
    return (2 * signs - 1).to(operator.device, operator.dtype)


def _outside(rows: Float[Tensor, "k p"], basis: Float[Tensor, "k j p"]) -> Float[Tensor, "k p"]:
    # One pass leaves a part of relative size eps * condition; two are enough (Parlett's rule).
    for _ in range(2):
        coefficients = torch.bmm(basis, rows[:, :, None])
        rows = rows - torch.bmm(coefficients.mT, basis).squeeze(1)
    return rows


def _rounding(diagonal: Float[Tensor, "k m"], off_diagonal: Float[Tensor, "k m"]) -> Float[Tensor, " k"]:
    """Return the norm that rounding alone can give a vector, from the largest entry of T so far."""
    scale = torch.maximum(diagonal.abs().amax(1), off_diagonal.amax(1))
    return 10 * torch.finfo(diagonal.dtype).eps * scale


def _unit_rows(operator: MatrixFree, probes: Float[Tensor, "p k"]) -> Float[Tensor, "k p"]:
    if probes.ndim != 2 or len(probes) != operator.shape[0] or probes.dtype != operator.dtype:
        raise InvalidInputError(
            f"probes must be columns of shape ({operator.shape[0]}, k) and dtype {operator.dtype}, "
            f"got shape {tuple(probes.shape)} and dtype {probes.dtype}"
        )
    probes = probes.to(torch.promote_types(probes.dtype, torch.float32))  # half precision cannot hold a basis
    lengths = probes.norm(dim=0)
    if probes.shape[1] == 0 or not (torch.isfinite(lengths) & (lengths > 0)).all():
        raise InvalidInputError("probes must be finite and not zero, and there must be one; draw other vectors")
    return (probes / lengths).T
