"""Spectral density by stochastic Lanczos quadrature (Ghorbani, Krishnan and Xiao, 2019, section 2)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, MatrixFree, as_generator, check_positive, lanczos, sign_probes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    r"""A spectrum as k estimates, each of m weighted points, blurred by a Gaussian kernel.

    $\phi(\lambda) = \frac1k \sum_{ij} w_{ij}\, \mathcal N(\lambda; \theta_{ij}, \sigma^2)$. A full set of p
    eigenvalues is the exact case: one row with weights 1/p.

    Attributes:
        nodes: Points $\theta_{ij}$, in units of the matrix.
        weights: Their weights; every row sums to one.
        width: Standard deviation $\sigma$ of the kernel, in units of the matrix.
    """

    nodes: Float[Tensor, "k m"]
    weights: Float[Tensor, "k m"]
    width: float

    def __call__(self, points: Float[Tensor, " g"]) -> Float[Tensor, " g"]:
        """Return the density at `points`; it integrates to one."""
        offsets = (points[:, None] - self.nodes.flatten()) / self.width
        kernel = torch.exp(-0.5 * offsets.square()) / (self.width * math.sqrt(2 * math.pi))
        return kernel @ self.weights.flatten() / len(self.nodes)

    def moment(self, order: int) -> float:
        r"""Return the estimate of $\mathrm{tr}(A^r)/p$, without the kernel's blur."""
        return self._moments(order).mean().item()

    def moment_error(self, order: int) -> float:
        """Return the standard error of `moment` over the probes.

        Raises:
            InvalidInputError: There is only one estimate.
        """
        if len(self.nodes) == 1:
            raise InvalidInputError("a single estimate does not show its own error; use at least two probes")
        estimates = self._moments(order)
        return (estimates.std() / math.sqrt(len(estimates))).item()

    def fraction_within(self, radius: float) -> float:
        """Return the share of eigenvalues with absolute value at most `radius`."""
        return (self.weights * (self.nodes.abs() <= radius)).sum(1).mean().item()

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the density on a logarithmic scale and return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        low, high = self.nodes.min().item() - 4 * self.width, self.nodes.max().item() + 4 * self.width
        points = torch.linspace(low, high, 2000, dtype=self.nodes.dtype, device=self.nodes.device)
        axes.semilogy(points.cpu(), self(points).cpu())
        # Below a hundredth of one eigenvalue's peak only the kernel's tails are left.
        axes.set_ylim(bottom=self._lowest_peak() / 100)
        axes.set_xlabel("eigenvalue")
        axes.set_ylabel("density")
        return axes

    def _moments(self, order: int) -> Float[Tensor, " k"]:
        return (self.weights * self.nodes**order).sum(1)

    def _lowest_peak(self) -> float:
        seen = self.weights[self.weights > 1e-6].min().item()
        return seen / (len(self.nodes) * self.width * math.sqrt(2 * math.pi))


@torch.inference_mode(False)
def spectral_density(
    operator: MatrixFree,
    *,
    n_iter: int = 80,
    probes: int = 10,
    kernel_width: float = 0.01,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> SpectralDensity:
    r"""Estimate the spectral density of a symmetric operator by stochastic Lanczos quadrature.

    For a random sign vector $v$, $\mathbb E\, v^\top g(A) v = \mathrm{tr}\, g(A)$; m steps of Lanczos from $v$ give
    the m-point Gauss rule for $v^\top g(A) v$, exact for polynomials up to degree $2m - 1$. The error that remains is
    the spread over probes, $O(1/\sqrt{k})$, which `SpectralDensity.moment_error` estimates.

    Args:
        operator: Symmetric p x p operator.
        n_iter: Lanczos steps m, at most p.
        probes: Random vectors k.
        kernel_width: Kernel's standard deviation as a fraction of the spectrum's range.
        generator: Source of the probes; one seeded with 0 by default.
        progress: Draw a bar on standard error.

    Returns:
        Quadrature points and weights, with the kernel that blurs them.

    Raises:
        InvalidInputError: `n_iter`, `probes` or `kernel_width` is not positive.
        NumericalError: A product is NaN or infinite.

    Cost: m products with k columns; time O(m² p k) beside them, memory O(m p k).

    Source: Ghorbani, Krishnan and Xiao (2019), "An Investigation into Neural Net Optimization via Hessian Eigenvalue
    Density", arXiv 1901.10159, section 2.

    >>> from assay.core import DenseOperator
    >>> density = spectral_density(DenseOperator(torch.diag(torch.tensor([0.0, 1.0, 5.0]))))
    >>> round(density.moment(1), 4)
    2.0
    """
    check_positive(kernel_width, "kernel_width")
    source = as_generator(generator)
    vectors = sign_probes(operator, probes, source)
    nodes, weights, _ = lanczos(operator, vectors, n_iter=n_iter, generator=source, progress=progress).ritz()
    return SpectralDensity(nodes, weights, kernel_standard_deviation(nodes, kernel_width))


def kernel_standard_deviation(nodes: Float[Tensor, "k m"], kernel_width: float) -> float:
    """Return the kernel's width in units of the matrix: a share of the nodes' range, or of their one value.

    >>> kernel_standard_deviation(torch.tensor([[0.0, 4.0]]), 0.25)
    1.0
    """
    span = (nodes.max() - nodes.min()).item()
    size = nodes.abs().max().item()
    rounding = torch.finfo(nodes.dtype).eps * len(nodes[0]) * size
    return kernel_width * (span if span > 10 * rounding else size or 1.0)
