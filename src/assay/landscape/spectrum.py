"""Hessian spectrum of the training loss (Sagun et al., 2017)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    HessianOperator,
    InvalidInputError,
    LossFunction,
    MatrixFree,
    Tridiagonalization,
    affordable_batch,
    as_generator,
    check_choice,
    check_finite,
    check_fraction,
    check_outputs,
    check_pairs,
    lanczos,
    sign_probes,
    symmetric_eigenvalues,
)
from assay.landscape.bulk import Bulk, estimated_bulk
from assay.landscape.density import SpectralDensity, kernel_standard_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above this many parameters a dense eigendecomposition, O(p^3), costs more than Lanczos.
DENSE_LIMIT = 3000

COLUMNS_AT_ONCE = 128  # of a dense matrix, in products of the operator

# A Ritz value counts as an eigenvalue if its error bound is below this fraction of it; the error is near its square.
RESOLVED = 1e-2


@dataclass(frozen=True, eq=False)
class SpectrumReport:
    r"""A Hessian's spectrum and the counts that separate its bulk from its outliers.

    Attributes:
        method: "dense" or "lanczos".
        eigenvalues: In descending order: all p (dense), or the top ones that Lanczos resolved.
        density: The whole spectrum; exact when dense.
        n_parameters: Parameters p that the Hessian is taken in.
        n_outliers: Eigenvalues above `outlier_threshold` times the largest.
        bulk: Share of eigenvalues with $|\lambda|$ below `bulk_threshold` times the largest, and its error.
        lambda_min: Smallest eigenvalue.
        lambda_max: Largest eigenvalue.
        gap_index: k of the largest ratio $\lambda_k/\lambda_{k+1}$ among the top 3c of `eigenvalues`, for c outputs.
        outlier_threshold: Fraction of `lambda_max`.
        bulk_threshold: Fraction of `lambda_max`.
    """

    method: Literal["dense", "lanczos"]
    eigenvalues: Float[Tensor, " k"]
    density: SpectralDensity
    n_parameters: int
    n_outliers: int
    bulk: Bulk
    lambda_min: float
    lambda_max: float
    gap_index: int
    outlier_threshold: float
    bulk_threshold: float

    @property
    def bulk_fraction(self) -> float | None:
        """Share of eigenvalues in the bulk; None where Lanczos does not resolve it."""
        return self.bulk.fraction

    def __str__(self) -> str:
        unresolved = "; more steps or probes would tell" if self.bulk.fraction is None else ""
        return (
            f"Of {self.n_parameters} Hessian eigenvalues ({self.method}), {self.bulk}{unresolved} lie within "
            f"{self.bulk_threshold:g} of the largest ({self.lambda_max:.4g}) from zero, and {self.n_outliers} exceed "
            f"{self.outlier_threshold:g} of it; the widest gap follows the first {self.gap_index}. "
            f"The smallest is {self.lambda_min:.4g}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the density with the outliers marked, and return the axes."""
        axes = self.density.plot(ax)
        outliers = self.eigenvalues[: self.n_outliers].cpu()
        floor = axes.get_ylim()[0]
        axes.plot(outliers, torch.full_like(outliers, 1.6 * floor), "|", color="C3", label="outliers")
        return axes


@torch.inference_mode(False)
def hessian_spectrum(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    params: Literal["trainable", "all"] = "trainable",
    method: Literal["auto", "dense", "lanczos"] = "auto",
    n_iter: int = 80,
    probes: int = 10,
    kernel_width: float = 0.01,
    outlier_threshold: float = 0.1,
    bulk_threshold: float = 1e-3,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> SpectrumReport:
    r"""Compute the spectrum of $H = \nabla^2_\theta \frac1n \sum_i \ell(f(x_i), y_i)$ and count bulk and outliers.

    The dense method is exact. With Lanczos the density is an estimate, with the error over probes in
    `report.density.moment_error`; the share of the bulk carries an error over probes and steps, and is None where that
    exceeds 0.1; the top eigenvalues are those that converged, and an exactly repeated eigenvalue
    counts once. Rounding blurs the bulk, at about 1e-6 of the largest eigenvalue in float32 and 1e-2 in bfloat16.

    Args:
        model: Network; evaluated in evaluation mode, it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples; class weights and ignored labels are folded into one mean over all of them.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        method: "auto" is dense up to 3000 parameters, Lanczos above.
        n_iter: Lanczos steps; 80 to 100 resolve most spectra.
        probes: Random starting vectors of Lanczos.
        kernel_width: Width of the density's kernel as a fraction of the spectrum's range.
        outlier_threshold: An outlier exceeds this fraction of the largest eigenvalue.
        bulk_threshold: An eigenvalue of the bulk is below this fraction of the largest, in absolute value.
        batch_size: Samples differentiated at once; by default as many as keep the activations within about 1 GB.
        generator: Source of the probes; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        The eigenvalues, the density, and the counts of bulk and outliers.

    Raises:
        InvalidInputError: The model, the data or an option is unusable, or `n_iter` is too small to resolve the
            outliers; the message says why.
        NumericalError: The curvature is NaN or infinite.

    Cost: dense, time O(n p² + p³), memory O(p²); Lanczos, `n_iter * probes` Hessian products, memory O(`n_iter` p
    `probes`).

    Source: Sagun, Evci, Güney, Dauphin and Bottou (2017), "Empirical Analysis of the Hessian of Over-Parametrized
    Neural Networks", arXiv 1706.04454, main text and figures of spectra. Deviation: the thresholds are ours, since the
    paper shows plots.

    >>> from assay.core import squared_error
    >>> report = hessian_spectrum(nn.Linear(2, 1), torch.eye(2), torch.zeros(2), loss=squared_error)
    >>> round(report.lambda_max, 4), report.gap_index
    (3.0, 2)
    """
    x, y = check_pairs(x, y, tokens=True)
    check_choice(method, ("auto", "dense", "lanczos"), "method")
    check_fraction(outlier_threshold, "outlier_threshold")
    check_fraction(bulk_threshold, "bulk_threshold")
    check_fraction(kernel_width, "kernel_width")
    n_outputs = check_outputs(model, x)[0].numel()
    operator = HessianOperator(model, x, y, loss, params=params, batch_size=batch_size)
    if method == "auto":
        method = "dense" if operator.shape[0] <= DENSE_LIMIT else "lanczos"
    if batch_size is None:
        columns = COLUMNS_AT_ONCE if method == "dense" else probes
        operator.batch_size = affordable_batch(model, operator.x, columns=columns)
    steps = None
    if method == "dense":
        eigenvalues, density = _dense(operator, kernel_width)
    else:
        steps = _from_probes(operator, probes, n_iter, as_generator(generator), progress)
        eigenvalues, density = _read(steps, n_iter, kernel_width, outlier_threshold)
    top = eigenvalues[0].clamp(min=0).item()
    within = bulk_threshold * top
    return SpectrumReport(
        method=method,
        eigenvalues=eigenvalues,
        density=density,
        n_parameters=operator.shape[0],
        n_outliers=int((eigenvalues > outlier_threshold * top).sum()),
        bulk=Bulk(density.fraction_within(within), 0.0) if steps is None else estimated_bulk(steps, within),
        lambda_min=density.nodes.min().item(),
        lambda_max=eigenvalues[0].item(),
        gap_index=_gap_index(eigenvalues, 3 * n_outputs),
        outlier_threshold=outlier_threshold,
        bulk_threshold=bulk_threshold,
    )


def _dense(operator: MatrixFree, kernel_width: float) -> tuple[Float[Tensor, " p"], SpectralDensity]:
    matrix = operator.to_dense(columns=COLUMNS_AT_ONCE)
    check_finite(matrix, "the Hessian")
    eigenvalues = symmetric_eigenvalues(matrix).flip(0)
    weights = torch.full_like(eigenvalues, 1 / len(eigenvalues))
    nodes = eigenvalues[None]
    return eigenvalues, SpectralDensity(nodes, weights[None], kernel_standard_deviation(nodes, kernel_width))


def _from_probes(
    operator: MatrixFree, probes: int, n_iter: int, generator: torch.Generator, progress: bool
) -> Tridiagonalization:
    vectors = sign_probes(operator, probes, generator)
    return lanczos(operator, vectors, n_iter=n_iter, generator=generator, progress=progress)


def _read(
    steps: Tridiagonalization, n_iter: int, kernel_width: float, outlier_threshold: float
) -> tuple[Float[Tensor, " k"], SpectralDensity]:
    nodes, weights, bounds = steps.ritz()
    # All probes share the top eigenvalues; take the probe with the smallest error bound on its outliers.
    relative = bounds / nodes.abs().clamp(min=torch.finfo(nodes.dtype).tiny)
    unsure = (relative * (nodes > outlier_threshold * nodes.max())).amax(1)
    best = int(unsure.argmin())
    if unsure[best] > RESOLVED:
        raise InvalidInputError(
            f"n_iter={n_iter} leaves an outlier uncertain by {unsure[best].item():.1%} of its value; raise n_iter"
        )
    # Below the first unresolved value, eigenvalues may be missing.
    resolved = (relative[best].flip(0) <= RESOLVED).long().cumprod(0).bool()
    top = nodes[best].flip(0)[resolved]
    density = SpectralDensity(nodes, weights, kernel_standard_deviation(nodes, kernel_width))
    return top if len(top) else nodes[best][-1:], density


def _gap_index(eigenvalues: Float[Tensor, " k"], n_top: int) -> int:
    """Return k (from 1) of the largest ratio of neighbours among the top `n_top`; zero if nothing is positive."""
    if eigenvalues[0] <= 0:
        return 0
    # Values that rounding cannot tell from zero count as equal, or the ratio of two zeros would be the largest.
    floor = torch.finfo(eigenvalues.dtype).eps * len(eigenvalues) * eigenvalues[0]
    top = eigenvalues[: n_top + 1].clamp(min=floor.item())
    return int((top[:-1] / top[1:]).argmax()) + 1 if len(top) > 1 else 1
