"""Gaussian diffusion matrix of samples, dense and matrix-free (Liao et al., 2023, section on diffusion geometry)."""

import math
from typing import Literal, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import (
    InvalidInputError,
    MatrixFree,
    as_generator,
    check_choice,
    check_count,
    check_finite,
    check_fraction,
    check_positive,
    check_samples,
    symmetric_eigenvalues,
)

Normalization: TypeAlias = Literal["symmetric", "markov", "none"]
NORMALIZATIONS: tuple[Normalization, ...] = ("symmetric", "markov", "none")

_ROUNDING = 1e-9  # of a squared distance in units of the bandwidth
MEDIAN_SAMPLES = 1000  # of which all pairs are compared for the median distance


@final
class GaussianKernelOperator(MatrixFree):
    r"""The kernel matrix $G_{ij} = \exp(-\lVert x_i - x_j\rVert^2 / (2\sigma^2))$, of which blocks of rows are made.

    Cost: a product with k columns takes time O(n² (d + k)), memory O(n (`batch_size` + d + k)).

    Args:
        x: Samples.
        sigma: Bandwidth, in units of the samples.
        batch_size: Rows of the matrix that exist at once.

    Raises:
        InvalidInputError: `x` is no batch of finite samples, or a number is not positive.
        NumericalError: A product is NaN, since distances overflow.

    Source: Liao et al. (2023), arXiv 2312.04823, section on the diffusion matrix.

    >>> operator = GaussianKernelOperator(torch.tensor([[0.0], [1e3]]), sigma=1.0)
    >>> (operator @ torch.ones(2, dtype=torch.float64)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, x: Float[Tensor, "n *d"], sigma: float = 10.0, *, batch_size: int = 512) -> None:
        check_count(batch_size, "batch_size")
        self.x = scaled_rows(x, sigma)
        self.batch_size = batch_size
        super().__init__(len(self.x), self.x.dtype, self.x.device)

    def multiply(self, columns: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """Return the product with every column."""
        product, size = torch.zeros_like(columns), self.batch_size
        for start in range(0, len(self.x), size):  # each pair of samples is compared once
            block = kernel_rows(self.x[start : start + size], self.x[start:])
            product[start : start + size] += block @ columns[start:]
            product[start + size :] += block[:, size:].T @ columns[start : start + size]
        return product


def scaled_rows(x: Float[Tensor, "n *d"], sigma: float) -> Float[Tensor, "n d"]:
    r"""Return samples as rows of float64, centred and divided by $\sqrt2\,\sigma$: distances are all that counts."""
    check_positive(sigma, "sigma")
    rows = check_samples(x).flatten(1).double()
    return (rows - rows.mean(0)) / (math.sqrt(2) * sigma)


def kernel_rows(left: Float[Tensor, "b d"], right: Float[Tensor, "n d"]) -> Float[Tensor, "b n"]:
    """Return the kernel between scaled rows."""
    return torch.exp(-squared_distances(left, right))


def squared_distances(left: Float[Tensor, "b d"], right: Float[Tensor, "n d"]) -> Float[Tensor, "b n"]:
    """Return squared distances: by one matrix product, or entry by entry where rounding of that would count.

    The product loses what is smaller than rounding of the largest squared norm; the kernel feels distances of 1.
    """
    lengths = left.square().sum(1), right.square().sum(1)
    largest = max((float(each.detach().max()) for each in lengths if len(each)), default=0.0)
    if not largest * torch.finfo(left.dtype).eps < _ROUNDING:
        return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist").square()
    return (lengths[0][:, None] + lengths[1] - 2 * (left @ right.T)).clamp(min=0)


def diffusion_matrix(rows: Float[Tensor, "n d"], normalization: Normalization) -> Float[Tensor, "n n"]:
    """Return the normalised kernel matrix of scaled rows, with a graph."""
    kernel = kernel_rows(rows, rows)
    scale = normalizing_diagonal(kernel, normalization).rsqrt()
    return scale[:, None] * kernel * scale


def normalizing_diagonal(kernel: Tensor | MatrixFree, normalization: Normalization) -> Float[Tensor, " n"]:
    r"""Return the diagonal D for which $D^{-1/2} G D^{-1/2}$ has the spectrum of the normalised kernel.

    D is $g = G 1$ for the symmetric one, $K = D^{-1/2} G D^{-1/2}$. The Markov matrix $\mathrm{diag}(K1)^{-1} K$ is
    similar to the symmetric matrix with $D = g \circ K1 = g^{1/2} \circ G g^{-1/2}$.
    """
    ones = torch.ones(kernel.shape[0], dtype=kernel.dtype, device=kernel.device)
    if normalization == "none":
        return ones
    degrees = kernel @ ones
    check_finite(degrees, "a degree of the kernel")
    return degrees if normalization == "symmetric" else degrees.sqrt() * (kernel @ degrees.rsqrt())


def diffusion_eigenvalues(
    x: Float[Tensor, "n *d"], *, sigma: float = 10.0, normalization: Normalization = "symmetric"
) -> Float[Tensor, " n"]:
    r"""Compute all eigenvalues of the diffusion matrix $K = D^{-1/2} G D^{-1/2}$, $D = \mathrm{diag}(G 1)$.

    Args:
        x: Samples.
        sigma: Bandwidth of the kernel G, in units of the samples.
        normalization: "symmetric" is K, whose spectrum is that of the Markov matrix $D^{-1} G$; "markov" is
            $\mathrm{diag}(K 1)^{-1} K$, which the paper's text describes; "none" is G.

    Returns:
        In descending order, computed in float64; absolute values, since rounding makes small ones negative.

    Raises:
        InvalidInputError: `x` is no batch of finite samples, or an option is unusable.
        NumericalError: Distances overflow.

    Cost: time O(n² d + n³), memory O(n²).

    Source: Liao et al. (2023), arXiv 2312.04823, section on the diffusion matrix; the authors' code takes K.

    >>> diffusion_eigenvalues(torch.tensor([[0.0], [0.0], [1e3]])).round(decimals=6).tolist()
    [1.0, 1.0, 0.0]
    """
    check_choice(normalization, NORMALIZATIONS, "normalization")
    matrix = diffusion_matrix(scaled_rows(x, sigma), normalization)
    check_finite(matrix, "the diffusion matrix")
    values = symmetric_eigenvalues(matrix).abs().sort(descending=True).values
    return values.to(torch.promote_types(x.dtype, torch.float32))


def diffusion_time(eigenvalues: Float[Tensor, " n"], *, share: float = 0.01, threshold: float = 0.01) -> int:
    r"""Return the smallest whole t at which at most a share of all $\lambda^t$ exceeds the threshold.

    The leading eigenvalue, 1 for each connected part, never falls: the share is rounded up to one eigenvalue, and to
    as many as equal the largest.

    Args:
        eigenvalues: Of a normalised diffusion matrix.
        share: Of the eigenvalues that may exceed the threshold.
        threshold: For powered eigenvalues, relative to the largest.

    Returns:
        t, at least 1.

    Raises:
        InvalidInputError: There is no eigenvalue, they are not finite or all zero, or a share is not within (0, 1).

    Source: Liao et al. (2023), arXiv 2312.04823, main text: the rule of thumb for t, about 1 % of powered eigenvalues
    above 0.01.

    >>> diffusion_time(torch.tensor([1.0, 0.5, 0.1]))
    7
    """
    check_fraction(share, "share")
    check_fraction(threshold, "threshold")
    if eigenvalues.ndim != 1 or len(eigenvalues) == 0 or not torch.isfinite(eigenvalues).all():
        raise InvalidInputError(f"eigenvalues must be a vector of finite numbers, got shape {tuple(eigenvalues.shape)}")
    values = eigenvalues.double().abs().sort(descending=True).values
    if not values[0] > 0:
        raise InvalidInputError("all eigenvalues are zero; pass those of a diffusion matrix")
    relative = values / values[0]
    largest = int((relative > 1 - 1e-9).sum())
    allowed = max(math.ceil(share * len(values)), largest)
    if allowed >= len(values) or relative[allowed] <= 0:
        return 1
    return max(1, math.ceil(math.log(threshold) / math.log(float(relative[allowed]))))


def median_bandwidth(x: Float[Tensor, "n *d"], *, generator: torch.Generator | None = None) -> float:
    """Compute the median distance between two samples; as `sigma` it takes the scale out of a diffusion entropy.

    Args:
        x: Samples; of more than 1000, a random 1000 are compared.
        generator: Source of that choice; one seeded with 0 by default.

    Returns:
        The median over pairs of different samples; 0 where most coincide, or there is one.

    Raises:
        InvalidInputError: `x` is no batch of finite samples.

    Cost: time O(m² d), memory O(m²) with m the smaller of n and 1000.

    >>> median_bandwidth(torch.tensor([[0.0], [1.0], [3.0]]))
    2.0
    """
    rows = check_samples(x).flatten(1)
    if len(rows) > MEDIAN_SAMPLES:
        source = as_generator(generator)
        chosen = torch.randperm(len(rows), generator=source, device=source.device)[:MEDIAN_SAMPLES]
        rows = rows[chosen.to(rows.device)]
    if len(rows) == 1:
        return 0.0
    rows = rows.double() - rows.double().mean(0)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    distances = squared_distances(rows, rows)[first, second].sqrt()
    check_finite(distances, "a distance between samples")
    return float(distances.median())


def find_bandwidth(x: Float[Tensor, "n *d"], sigma: float | Literal["median"]) -> float:
    """Return a bandwidth that is given, or the median distance.

    Raises:
        InvalidInputError: It is not positive; or the median distance is zero.
    """
    if sigma != "median":
        if isinstance(sigma, str):
            raise InvalidInputError(f"sigma must be a positive number or 'median', got {sigma!r}")
        check_positive(sigma, "sigma")
        return float(sigma)
    median = median_bandwidth(x)
    if not median > 0:
        raise InvalidInputError("most samples coincide, so that their median distance is zero; pass sigma as a number")
    return median
