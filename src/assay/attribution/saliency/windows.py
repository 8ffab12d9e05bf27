"""Windows of positions that a convolution reads, and what a layer's weight makes of them (Rebuffi et al., 2020)."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_choice

KINDS = ("bias", "scaling", "mean_scaling", "conv1x1", "conv3x3", "depthwise3x3", "layer")


@dataclass(frozen=True)
class Window:
    """The entries of its input that each position of a convolution's output reads.

    Attributes:
        kernel: Height and width.
        stride: Of both axes.
        dilation: Of both axes.
        padding: Left, right, top and bottom, in the order of `F.pad`.
        groups: Groups of channels.
        mode: Of the padding, "zeros" or one of `F.pad`.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    mode: str = "zeros"

    def unfold(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n kw u"]:
        """Return what each of the u positions reads."""
        if any(self.padding):
            x = F.pad(x, self.padding, mode="constant" if self.mode == "zeros" else self.mode)
        return F.unfold(x, self.kernel, dilation=self.dilation, stride=self.stride)


@dataclass(frozen=True)
class Factors:
    r"""The two factors of a layer's weight gradient: in each group, $M_u = g_u\,\mathrm{window}(x)_u^\top$.

    Attributes:
        x: What the layer reads, as images; a row of positions has height one.
        g: Gradient at its output, with one axis of positions.
        window: Which of x each position reads.
        positions: Shape of the output's positions.
    """

    x: Float[Tensor, "n k h w"]
    g: Float[Tensor, "n k_out u"]
    window: Window
    positions: tuple[int, ...]


def factors_of(x: Tensor, g: Tensor, kind: str, conv: nn.Module | None) -> Factors:
    """Return the factors of a virtual layer's weight gradient, or of a real one's, after checking the shapes.

    Raises:
        InvalidInputError: Shapes that do not fit, an unknown kind, or a layer that is no convolution.
    """
    check_choice(kind, KINDS, "extract")
    for name, value in (("x", x), ("g", g)):
        if value.ndim < 3 or value.numel() == 0 or not value.is_floating_point():
            raise InvalidInputError(
                f"{name} must be a non-empty floating-point tensor of shape (n, channels, positions ...), got "
                f"{value.dtype} of {tuple(value.shape)}; a layer without positions has no map"
            )
    if kind == "layer":
        window = _window_of(conv)
    elif conv is not None:
        raise InvalidInputError(f"conv is read with 'layer' only, got {kind!r}; leave it out")
    else:
        if x.shape != g.shape:
            raise InvalidInputError(
                f"x of shape {tuple(x.shape)} and g of {tuple(g.shape)} differ; pass both of one layer"
            )
        x, g, window = _virtual(x, g, kind)
    positions = tuple(g.shape[2:])
    if x.ndim != 4:
        if window.kernel != (1, 1) and x.ndim != 3:
            raise InvalidInputError(
                f"windows are taken of one or two axes of positions, got {x.ndim - 2}; take conv1x1"
            )
        x = x.flatten(2).unsqueeze(2)
    if x.shape[1] % window.groups or g.shape[1] % window.groups or len(x) != len(g):
        raise InvalidInputError(
            f"x of shape {tuple(x.shape)} and g of {tuple(g.shape)} do not belong to a layer of {window.groups} groups"
        )
    return Factors(x, g.flatten(2), window, positions)


def _virtual(x: Tensor, g: Tensor, kind: str) -> tuple[Tensor, Tensor, Window]:
    channels = x.shape[1]
    if kind == "bias":
        return torch.ones_like(x[:, :1]), g, Window()
    if kind == "mean_scaling":
        g = g.flatten(2).mean(2).reshape(*g.shape[:2], *[1] * (g.ndim - 2)).expand_as(g)
    groups = channels if kind in ("scaling", "mean_scaling", "depthwise3x3") else 1
    if not kind.endswith("3x3"):
        return x, g, Window(groups=groups)
    flat = x.ndim == 3  # a row of positions: its window has height one
    kernel, padding = ((1, 3), (1, 1, 0, 0)) if flat else ((3, 3), (1, 1, 1, 1))
    return x, g, Window(kernel, padding=padding, groups=groups)


def _window_of(layer: nn.Module | None) -> Window:
    """Return the window of a convolution or a dense layer."""
    if isinstance(layer, nn.Linear):
        return Window()
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        got = "none" if layer is None else type(layer).__name__
        raise InvalidInputError(
            f"'layer' reads the weight of a Conv1d, Conv2d or Linear layer, got {got}; take a virtual layer: conv1x1"
        )
    kernel, stride, dilation = (_pair(value, 1) for value in (layer.kernel_size, layer.stride, layer.dilation))
    spread = [reach * (size - 1) for reach, size in zip(dilation, kernel, strict=True)]
    if layer.padding == "valid":
        before = after = (0, 0)
    elif layer.padding == "same":  # the larger half stands behind
        before = (spread[0] // 2, spread[1] // 2)
        after = (spread[0] - before[0], spread[1] - before[1])
    else:
        before = after = _pair(layer.padding, 0)
    padding = (before[1], after[1], before[0], after[0])
    return Window(kernel, stride, dilation, padding, layer.groups, layer.padding_mode)


def _pair(value: Any, missing: int) -> tuple[int, int]:
    return (missing, int(value[0])) if len(value) == 1 else (int(value[0]), int(value[1]))
