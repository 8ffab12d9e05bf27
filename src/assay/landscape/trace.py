"""Trace of a matrix-free operator by Hutch++ (Meyer, Musco, Musco and Woodruff, 2021)."""

import math
from dataclasses import dataclass

import torch

from assay.core import MatrixFree, as_generator, check_count, check_finite, sign_probes


@dataclass(frozen=True)
class TraceEstimate:
    """A trace and its standard error over the random vectors.

    Attributes:
        value: Estimate of the trace.
        error: Its standard error; zero where the trace was computed exactly.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"The trace is {self.value:.4g} ± {self.error:.2g}."


@torch.inference_mode(False)
def hutch_plus_plus(
    operator: MatrixFree, *, products: int = 90, generator: torch.Generator | None = None
) -> TraceEstimate:
    r"""Estimate $\mathrm{tr}\,A$: exactly on a random low-rank range of A, by random signs on the rest.

    With $Q$ an orthonormal basis of $A S$ and sign matrices $S$, $G$ of $m/3$ columns each,
    $\mathrm{tr}(Q^\top A Q) + \frac3m\,\mathrm{tr}\big(G^\top (I - QQ^\top) A (I - QQ^\top) G\big)$.
    For a positive semi-definite A the relative error is $O(1/m)$, against $O(1/\sqrt m)$ by random signs alone. It is
    unbiased for every symmetric A.

    Args:
        operator: Symmetric p x p operator.
        products: Products with vectors m, rounded up to a multiple of three; from 3p on the trace is exact.
        generator: Source of the random signs; one seeded with 0 by default.

    Returns:
        The trace with its standard error.

    Raises:
        InvalidInputError: `products` is below six.
        NumericalError: A product is NaN or infinite.

    Cost: m products; time O(m² p) beside them, memory O(m p).

    Source: Meyer, Musco, Musco and Woodruff (2021), "Hutch++: Optimal Stochastic Trace Estimation", arXiv 2010.09649,
    algorithm 1.

    >>> from assay.core import DenseOperator
    >>> round(hutch_plus_plus(DenseOperator(torch.diag(torch.tensor([1.0, 2.0, 4.0])))).value, 3)
    7.0
    """
    check_count(products, "products", at_least=6)
    source = as_generator(generator)
    k = math.ceil(products / 3)
    with operator.prepared():
        if k >= operator.shape[0]:
            matrix = operator.to_dense()
            check_finite(matrix, "the operator")
            return TraceEstimate(matrix.trace().item(), 0.0)
        image = operator @ sign_probes(operator, k, source)
        check_finite(image, "a product with the operator")
        basis = torch.linalg.qr(image).Q
        exact = (basis * (operator @ basis)).sum()
        rest = sign_probes(operator, k, source)
        rest = rest - basis @ (basis.T @ rest)
        estimates = (rest * (operator @ rest)).sum(0)
    check_finite(estimates, "a product with the operator")
    return TraceEstimate((exact + estimates.mean()).item(), (estimates.std() / math.sqrt(k)).item())
