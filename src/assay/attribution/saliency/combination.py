"""Maps of several layers at one size, and their combination (Rebuffi et al., 2020)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_choice


def upsample_saliency(saliency: Float[Tensor, "n 1 *positions"], size: Sequence[int]) -> Float[Tensor, "n 1 *size"]:
    """Bring maps to a size by linear interpolation, and scale each to [0, 1] by its smallest and largest value.

    A constant map becomes zero.

    Args:
        saliency: Maps, one channel each, with one or two axes of positions.
        size: Height and width of the image, or the length of the sequence.

    Raises:
        InvalidInputError: Maps of another shape, or with NaN or infinite values.

    Source: Rebuffi et al., There and Back Again (2020), main text, upsampling to the input.

    >>> upsample_saliency(torch.tensor([[[[1.0, 3.0]]]]), (1, 2)).tolist()
    [[[[0.0, 1.0]]]]
    """
    if saliency.ndim not in (3, 4) or saliency.shape[1] != 1 or not torch.isfinite(saliency).all():
        raise InvalidInputError(
            f"saliency must be finite, of shape (n, 1, h, w) or (n, 1, t), got {tuple(saliency.shape)}"
        )
    if saliency.numel() == 0 or len(size) != saliency.ndim - 2:
        raise InvalidInputError(
            f"maps of shape {tuple(saliency.shape)} cannot be brought to size {tuple(size)}; pass a non-empty batch "
            "and one number for each axis of positions"
        )
    if tuple(saliency.shape[2:]) != tuple(size):
        mode = "bilinear" if saliency.ndim == 4 else "linear"
        saliency = F.interpolate(saliency, size=tuple(size), mode=mode, align_corners=False)
    flat = saliency.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    spread = torch.where(high > low, high - low, 1.0)
    return ((flat - low) / spread).reshape(saliency.shape)


def combine_saliency(
    maps: Sequence[Float[Tensor, "n 1 ..."]],
    weights: Sequence[float] | Literal["linear"] | None = None,
    how: Literal["product", "sum"] = "product",
    size: Sequence[int] | None = None,
) -> Float[Tensor, "n 1 *size"]:
    r"""Combine the maps of several layers: $\prod_l m_l^{w_l}$ or $\sum_l w_l m_l$, of maps scaled to [0, 1].

    Weights are scaled to sum 1, so that the product is a weighted geometric mean. It is zero wherever one of the maps
    is; the sum is safer where maps are coarse.

    Args:
        maps: One map a layer, at any resolution, in the order of depth.
        weights: One weight a layer, such as the layers' accuracies; "linear" grows with depth as 1, 2, ...; equal by
            default.
        how: "product" or "sum".
        size: Of the result; the largest of the maps by default.

    Returns:
        Combined maps in [0, 1].

    Raises:
        InvalidInputError: No map, maps that do not fit each other, or weights that are negative or all zero.

    Source: Rebuffi et al., There and Back Again (2020), main text, combination over layers. The authors' script
    multiplies with weights 1; the scaling changes no order of positions in it.

    >>> low, high = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.0, 1.0, 0.0, 0.0]]]])
    >>> combine_saliency([low, high]).shape
    torch.Size([1, 1, 1, 4])
    """
    check_choice(how, ("product", "sum"), "how")
    maps = list(maps)
    if not maps or any(len(value) != len(maps[0]) or value.ndim != maps[0].ndim for value in maps):
        raise InvalidInputError(f"maps must be one or more of the same samples, got {[tuple(m.shape) for m in maps]}")
    if size is None:
        size = tuple(max(lengths) for lengths in zip(*(value.shape[2:] for value in maps), strict=True))
    if weights is None:
        given = [1.0] * len(maps)
    elif isinstance(weights, str):
        check_choice(weights, ("linear",), "weights")
        given = [float(depth) for depth in range(1, len(maps) + 1)]
    else:
        given = [float(weight) for weight in weights]
    if len(given) != len(maps) or not all(0 <= weight < float("inf") for weight in given) or not any(given):
        raise InvalidInputError(f"weights must be {len(maps)} finite numbers of at least 0, not all 0, got {given}")
    parts = torch.stack([upsample_saliency(value, size) for value in maps])
    share = (torch.tensor(given, dtype=torch.float64) / sum(given)).to(parts).reshape(-1, *[1] * (parts.ndim - 1))
    return (parts**share).prod(0) if how == "product" else (share * parts).sum(0)
