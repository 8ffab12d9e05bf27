"""Image similarity: normalised correlation, and SSIM (Wang et al., 2004)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError


def normalized_correlation(a: Float[Tensor, "n ..."], b: Float[Tensor, "m ..."]) -> Float[Tensor, "n m"]:
    r"""Correlate every sample of `a` with every sample of `b`: the cosine after the mean of each channel is removed.

    Channels are scaled to mean zero and standard deviation one, so that the squared distance of two images divided by
    their size is $2 (1 - \mathrm{NCC})$. A constant channel counts as zero.

    Cost: time O(n m d), memory O(n m + (n + m) d).

    Args:
        a: Samples, flat or as images (n, channels, height, width).
        b: Samples of the same shape.

    Returns:
        Correlations, in [-1, 1]; those of samples in half precision are in float32.

    Raises:
        InvalidInputError: Their shapes differ, or they are no batches of floating-point samples.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), section on results
    (evaluation of the reconstructions).

    >>> x = torch.tensor([[1.0, 2.0, 3.0]])
    >>> round(normalized_correlation(x, 5 - 2 * x).item(), 4)
    -1.0
    """
    if a.shape[1:] != b.shape[1:] or a.ndim < 2 or not (a.is_floating_point() and b.is_floating_point()):
        raise InvalidInputError(
            f"samples are {a.dtype} of shape {tuple(a.shape)} and {b.dtype} of shape {tuple(b.shape)}; bring both to "
            "one shape (n, ...) in floating point"
        )
    left, right = _standardized(a), _standardized(b)
    return (left @ right.T / left.shape[1]).clamp(-1, 1)


def structural_similarity(
    a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"], *, window: int = 3, sigma: float = 1.5
) -> Float[Tensor, " n"]:
    r"""Compute the structural similarity of pairs of images with range [0, 1], averaged over pixels and channels.

    $$\frac{(2\mu_a\mu_b + C_1)(2\sigma_{ab} + C_2)}{(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)}$$

    with local moments under a Gaussian window, $C_1 = 0.01^2$, $C_2 = 0.03^2$, over pixels with a complete window.

    Cost: time O(n c h w * window^2), memory O(n c h w).

    Args:
        a: Images.
        b: As many images.
        window: Side of the window, odd.
        sigma: Standard deviation of the Gaussian in pixels.

    Returns:
        Similarities, at most 1.

    Raises:
        InvalidInputError: Shapes differ or the window is larger than the images.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004), equation of
    the SSIM index; window 3 as in the code of Haim et al. (2022).

    >>> structural_similarity(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).item()
    1.0
    """
    if a.shape != b.shape or min(a.shape[-2:]) < window:
        raise InvalidInputError(
            f"SSIM needs pairs of images of one shape, at least {window} x {window}; "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    offsets = torch.arange(window, dtype=a.dtype, device=a.device) - window // 2
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (line[:, None] * line)[None, None] / line.sum() ** 2

    def local(images: Tensor) -> Tensor:
        return F.conv2d(images.flatten(0, 1)[:, None], kernel).reshape(len(a), -1)

    mean_a, mean_b = local(a), local(b)
    variance_a, variance_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    covariance = local(a * b) - mean_a * mean_b
    low, high = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + low) * (2 * covariance + high)
    return (top / ((mean_a**2 + mean_b**2 + low) * (variance_a + variance_b + high))).mean(1)


def _standardized(x: Tensor) -> Tensor:
    """Standardise every channel to mean zero and standard deviation one; flat samples are one channel."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    channels = x.flatten(2) if x.ndim > 3 else x.flatten(1)[:, None]
    centred = channels - channels.mean(-1, keepdim=True)
    spread = centred.square().mean(-1, keepdim=True).sqrt()
    floor = 1e-6 * channels.abs().amax(-1, keepdim=True) + torch.finfo(x.dtype).tiny
    return torch.where(spread > floor, centred / spread.clamp_min(floor), torch.zeros_like(centred)).flatten(1)
