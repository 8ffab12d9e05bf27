"""Centred kernel alignment of representations (Kornblith et al., 2019; Nguyen, Raghu and Kornblith, 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_positive
from assay.representation.similarity.checks import check_representations


def linear_cka(a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"], *, unbiased: bool = False) -> float:
    r"""Compute the linear centred kernel alignment of two representations of the same samples.

    $\mathrm{CKA} = \mathrm{HSIC}(K, L) / \sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}$ with $K = a a^\top$ and $L =
    b b^\top$. It is 1 for representations that differ by a rotation, a shift and a scale. The biased estimate, with
    $\mathrm{HSIC} \propto \mathrm{tr}(K H L H)$, tends to 1 where features outnumber samples, whatever they are. The
    unbiased one takes $\mathrm{HSIC}_1$ (Song et al.), which is 0 on average for independent representations, and can
    be below 0.

    Args:
        a: One row a sample; flatten what is no matrix.
        b: The same samples in the other representation.
        unbiased: Take $\mathrm{HSIC}_1$; it needs four samples.

    Raises:
        InvalidInputError: A matrix is unusable, they have different numbers of rows, or one is constant.

    Cost: time O(n² (d + e)), memory O(n²).

    Source: Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited" (2019), section
    3; Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same Things?" (2021), section 3, equation of
    HSIC_1.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(linear_cka(a, 2 * a.flip(1) + 1, unbiased=True), 4)
    1.0
    """
    a, b = check_representations(a, b, at_least=4 if unbiased else 2)
    return _cosine(centred_kernel(a, unbiased=unbiased), centred_kernel(b, unbiased=unbiased))


def rbf_cka(
    a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"], *, bandwidth: float = 0.8, unbiased: bool = False
) -> float:
    r"""Compute the centred kernel alignment with Gaussian kernels.

    $K_{ij} = \exp(-\|a_i - a_j\|^2 / (2 \sigma^2))$ with $\sigma$ a fraction of the median distance between samples, in
    each representation; the rest is as in `linear_cka`. A narrow kernel weighs near neighbours only.

    Args:
        a: One row a sample.
        b: The same samples in the other representation.
        bandwidth: $\sigma$ over the median distance. Kornblith et al. try 0.2, 0.4 and 0.8.
        unbiased: Take $\mathrm{HSIC}_1$; it needs four samples.

    Raises:
        InvalidInputError: A matrix or the bandwidth is unusable, they have different numbers of rows, or one is
            constant.

    Cost: time O(n² (d + e)), memory O(n²).

    Source: Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited" (2019), section
    3, kernel selection.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(rbf_cka(a, 2 * a.flip(1) + 1), 4)
    1.0
    """
    a, b = check_representations(a, b, at_least=4 if unbiased else 2)
    check_positive(bandwidth, "bandwidth")
    return _cosine(*(centred_kernel(x, bandwidth=bandwidth, unbiased=unbiased) for x in (a, b)))


def centred_kernel(
    x: Float[Tensor, "n d"], *, bandwidth: float | None = None, unbiased: bool = False
) -> Float[Tensor, "n n"]:
    r"""Compute a centred kernel matrix, in float64; the inner product of two of them estimates HSIC.

    Biased: $H K H$, where $\langle H K H, H L H \rangle = \mathrm{tr}(K H L H)$. Unbiased: the diagonal is removed, the
    means are taken over the n - 2 other samples, and $\langle \tilde K, \tilde L \rangle / (n (n - 3))$ is
    $\mathrm{HSIC}_1$.

    Args:
        x: One row a sample.
        bandwidth: Of a Gaussian kernel, as a fraction of the median distance; None for the linear kernel.
        unbiased: Which centring.

    Raises:
        InvalidInputError: All samples are the same.

    Source: Székely and Rizzo, "Partial distance correlation with methods for dissimilarities" (2014), definition 2, the
    U-centred matrix, of which HSIC_1 is the inner product.

    >>> centred_kernel(torch.tensor([[0.0], [2.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    x = x.double()
    x = x - x.mean(0)
    n = len(x)
    if bandwidth is None:
        kernel = x @ x.T
    else:
        squares = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
        off = squares[~torch.eye(n, dtype=torch.bool, device=x.device)]
        median = off.median().clamp(min=torch.finfo(torch.float64).tiny)
        kernel = torch.exp(-squares / (2 * bandwidth**2 * median))
    if not x.any():
        raise InvalidInputError(
            "a representation is the same for all samples, which are like nothing else; leave it out"
        )
    if not unbiased:
        means = kernel.mean(0)
        return kernel - means - means[:, None] + means.mean()
    kernel = kernel.fill_diagonal_(0.0)
    sums = kernel.sum(0)
    centred = kernel - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0.0)


def _cosine(first: Tensor, second: Tensor) -> float:
    norms = first.norm() * second.norm()
    if not norms > 0:
        raise InvalidInputError("a representation has no variance left after centring; give more, or other samples")
    return float((first * second).sum() / norms)
