"""Diffusion spectral entropy of samples (Liao et al., 2023)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import as_generator, check_choice, check_positive, check_samples
from assay.representation.diffusion_entropy.kernel import (
    NORMALIZATIONS,
    GaussianKernelOperator,
    Normalization,
    diffusion_eigenvalues,
    find_bandwidth,
    median_bandwidth,
    normalizing_diagonal,
)
from assay.representation.diffusion_entropy.quadrature import EntropyEstimate, estimated_entropy, spectral_entropy

DENSE_LIMIT = 2000  # samples, whose matrix of eigenvalues takes 100 MB and about a second

SATURATED = 0.01  # of the largest possible entropy, from either end


@dataclass(frozen=True)
class DiffusionEntropy:
    """The entropy of a diffusion spectrum; `float(entropy)` is its value.

    Attributes:
        value: In bits, from 0 to the logarithm of the number of samples.
        error: Standard error over the probes and the change from half of the Lanczos steps, in quadrature; zero where
            all eigenvalues were computed.
        n_samples: Samples n. Compare only entropies of equally many samples.
        sigma: Bandwidth.
        t: Power of the eigenvalues.
        normalization: Of the kernel.
        method: "dense" or "lanczos".
        median_distance: Of two samples; an entropy at a fixed bandwidth grows with it.
    """

    value: float
    error: float
    n_samples: int
    sigma: float
    t: float
    normalization: Normalization
    method: Literal["dense", "lanczos"]
    median_distance: float

    def __float__(self) -> float:
        return self.value

    @property
    def largest(self) -> float:
        """The entropy of samples that are far apart, the logarithm of their number."""
        return math.log2(self.n_samples)

    @property
    def saturation(self) -> Literal["none", "apart", "together"]:
        """Whether the bandwidth sees all samples apart or all together: the value then says little about the data."""
        if self.value > (1 - SATURATED) * self.largest:
            return "apart"
        return "together" if self.value < SATURATED * self.largest else "none"

    def __str__(self) -> str:
        error = f" ± {self.error:.2g}" if self.error else ""
        warning = {
            "none": "",
            "apart": " The bandwidth sees all samples apart: widen it.",
            "together": " The bandwidth sees all samples as one: narrow it, or take a smaller t.",
        }[self.saturation]
        return (
            f"The diffusion spectral entropy of {self.n_samples} samples is {self.value:.4g}{error} bits, of at most "
            f"{self.largest:.4g}, at bandwidth {self.sigma:.4g}; their median distance is {self.median_distance:.4g}."
            f"{warning}"
        )


@torch.inference_mode(False)
def diffusion_spectral_entropy(
    x: Float[Tensor, "n *d"],
    *,
    sigma: float | Literal["median"] = 10.0,
    t: float = 1.0,
    normalization: Normalization = "symmetric",
    method: Literal["auto", "dense", "lanczos"] = "auto",
    n_iter: int = 30,
    probes: int = 24,
    rank: int = 48,
    batch_size: int = 512,
    generator: torch.Generator | None = None,
) -> DiffusionEntropy:
    r"""Compute the entropy of the diffusion spectrum of samples, $S = -\sum_i \alpha_i \log_2 \alpha_i$.

    $\alpha_i = |\lambda_i|^t / \sum_j |\lambda_j|^t$ with the eigenvalues of $K = D^{-1/2} G D^{-1/2}$,
    $G_{ij} = \exp(-\lVert x_i - x_j\rVert^2 / (2\sigma^2))$ and $D = \mathrm{diag}(G 1)$. It is 0 where all samples
    coincide, $\log_2 k$ for k tight clusters that are far apart, and $\log_2 n$ where all samples are.

    Up to 2000 samples all eigenvalues are computed. Above, two traces are estimated from products with K, of which
    blocks of rows exist at a time: $S = \log_2 Z - T/Z$ with $Z = \mathrm{tr} K^t$ and
    $T = \mathrm{tr}(K^t \log_2 K^t)$, by stochastic Lanczos quadrature after the leading `rank` directions are taken
    out exactly. The result carries the error.

    Args:
        x: One sample a row, such as the penultimate activations of a network.
        sigma: Bandwidth, in units of the samples; 10 is the paper's. "median" is the median distance of two samples,
            which takes their scale out.
        t: Power of the eigenvalues, the time of the diffusion; 1 is the paper's, `diffusion_time` has its rule.
        normalization: "symmetric" is K, as in the authors' code; "markov" is $\mathrm{diag}(K 1)^{-1} K$, as in their
            text, which differs; "none" is G.
        method: "auto" is dense up to 2000 samples, Lanczos above.
        n_iter: Lanczos steps, at least 4.
        probes: Random sign vectors of Lanczos, at least 4; the error falls with their square root.
        rank: Directions that are taken out exactly.
        batch_size: Rows of K that exist at once, by Lanczos.
        generator: Source of the random vectors; one seeded with 0 by default.

    Returns:
        The entropy in bits with its error and the median distance of two samples.

    Raises:
        InvalidInputError: `x` is no batch of finite samples, or an option is unusable; or the median distance is
            asked for as bandwidth and is zero.
        NumericalError: Distances overflow.

    Cost: dense, time O(n² d + n³), memory O(n²). Lanczos with k = `rank` + `probes` columns and m steps: time
    O(m n² (d + k) + m² n k), memory O(n (`batch_size` + m k)).

    Source: Liao et al. (2023), "Assessing Neural Network Representations During Training Using Noise-Resilient
    Diffusion Spectral Entropy", arXiv 2312.04823, definition of diffusion spectral entropy. Deviation: the estimate by
    Lanczos (Ubaru, Chen and Saad, 2017, "Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature", with the
    deflation of Hutch++) stands in for the authors' limit of 10,000 samples.

    >>> clusters = 1e3 * torch.eye(4).repeat(5, 1)
    >>> round(float(diffusion_spectral_entropy(clusters)), 6)
    2.0
    """
    x = check_samples(x)
    check_positive(t, "t")
    check_choice(normalization, NORMALIZATIONS, "normalization")
    check_choice(method, ("auto", "dense", "lanczos"), "method")
    width = find_bandwidth(x, sigma)
    if method == "auto" or len(x) < 2 * n_iter:  # as many steps as that would find all eigenvalues
        method = "dense" if len(x) <= DENSE_LIMIT else "lanczos"
    source = as_generator(generator)
    found = measured_entropy(
        x, width, t, normalization, method, source, n_iter=n_iter, probes=probes, rank=rank, batch_size=batch_size
    )
    distance = median_bandwidth(x, generator=source)
    return DiffusionEntropy(found.value, found.error, len(x), width, t, normalization, method, distance)


def measured_entropy(
    x: Float[Tensor, "n *d"],
    sigma: float,
    t: float,
    normalization: Normalization,
    method: Literal["auto", "dense", "lanczos"],
    generator: torch.Generator,
    *,
    n_iter: int = 30,
    probes: int = 24,
    rank: int = 48,
    batch_size: int = 512,
) -> EntropyEstimate:
    """Return the entropy from all eigenvalues, or from products with the kernel."""
    if method == "dense" or (method == "auto" and len(x) <= DENSE_LIMIT):
        eigenvalues = diffusion_eigenvalues(x.double(), sigma=sigma, normalization=normalization)
        return EntropyEstimate(float(spectral_entropy(eigenvalues, t)), 0.0)
    kernel = GaussianKernelOperator(x, sigma, batch_size=batch_size)
    diagonal = normalizing_diagonal(kernel, normalization)
    trace = float((1 / diagonal).sum())  # the kernel's own diagonal is one
    operator = kernel.preconditioned(diagonal)
    options = {"n_iter": n_iter, "probes": probes, "rank": rank, "generator": generator}
    value, error = estimated_entropy(operator, trace, t=t, **options)
    return EntropyEstimate(min(max(value, 0.0), math.log2(len(x))), error)
