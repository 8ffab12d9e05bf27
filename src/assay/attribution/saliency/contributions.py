"""Extract and aggregate: the share of each position in the gradient of a layer's weight (Rebuffi et al., 2020)."""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from assay.attribution.saliency.windows import Factors, Window, factors_of
from assay.core import InvalidInputError, check_choice, check_count

Kind: TypeAlias = Literal["bias", "scaling", "mean_scaling", "conv1x1", "conv3x3", "depthwise3x3", "layer"]
How: TypeAlias = Literal["norm", "filter_norm", "sum", "relu_sum", "max", "max_abs"]

HOWS = ("norm", "filter_norm", "sum", "relu_sum", "max", "max_abs")

SALIENCY_METHODS: dict[str, tuple[Kind, How]] = {
    "gradient": ("bias", "max_abs"),
    "linear_approximation": ("scaling", "sum"),
    "grad_cam": ("mean_scaling", "relu_sum"),
    "normgrad": ("conv1x1", "norm"),
    "normgrad_selective": ("scaling", "filter_norm"),
    "normgrad_layer": ("layer", "norm"),
}
"""Published methods as pairs of what is extracted and how it is aggregated."""


def extract(
    x: Float[Tensor, "n k *positions"],
    g: Float[Tensor, "n k_out *out"],
    kind: Kind = "conv1x1",
    conv: nn.Module | None = None,
) -> Float[Tensor, "n d *out"]:
    r"""Extract the contribution $\phi_u$ of each position to the gradient of a layer's weight.

    The layer is an identity that one thinks behind the activation $x$, whose output has the gradient
    $g = \partial \ell / \partial x$: a bias, $\phi_u = g_u$; a scaling of the channels, $g_u \odot x_u$; a convolution,
    $g_u\,\mathrm{window}(x)_u^\top$; a depthwise one. Or it is a real layer. The sum over positions and samples is the
    gradient of $\ell$ in the weight of that layer, exactly.

    Cost: time and memory O(n d u) for u positions, where d = k k_out times the window for convolutions: for teaching
    and tests. `contribution_map` gives the aggregated maps without it.

    Args:
        x: Activation, channels first; with "layer", the input of that layer.
        g: Gradient of the score at the layer's output.
        kind: The layer; "mean_scaling" is a scaling with the mean of g over positions, as in Grad-CAM.
        conv: With "layer", the convolution or dense layer itself.

    Returns:
        Contributions, in the order of the layer's flattened weight.

    Raises:
        InvalidInputError: Shapes that do not fit, an unknown kind, or a layer that is no convolution.

    Source: Rebuffi, Fong, Ji, Vedaldi, There and Back Again: Revisiting Backpropagation Saliency Methods (2020),
    main text, phase 1 of the framework; "mean_scaling" is Grad-CAM's, to bring it into the same form.

    >>> x, g = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    >>> extract(x, g, "conv3x3").shape
    torch.Size([1, 36, 4, 4])
    """
    parts = factors_of(x, g, kind, conv)
    n, groups = len(parts.x), parts.window.groups
    windows = parts.window.unfold(parts.x)
    _check_positions(parts, windows.shape[-1])
    outer = parts.g.reshape(n, groups, -1, 1, parts.g.shape[-1]) * windows.reshape(n, groups, 1, -1, windows.shape[-1])
    return outer.reshape(n, -1, *parts.positions)


def aggregate(phi: Float[Tensor, "n d *positions"], how: How = "norm") -> Float[Tensor, "n 1 *positions"]:
    r"""Aggregate contributions to one value a position.

    "norm" is $\lVert\phi_u\rVert_2$, "filter_norm" $\lVert\max(\phi_u, 0)\rVert_2$, "sum" $\sum_k \phi_{u,k}$,
    "relu_sum" its positive part, "max" $\max_k \phi_{u,k}$ and "max_abs" $\max_k |\phi_{u,k}|$. Norms are unsigned:
    they mark evidence against the class too, "filter_norm" only that for it.

    Args:
        phi: Contributions.
        how: The aggregation.

    Raises:
        InvalidInputError: An unknown aggregation, or contributions without positions.

    Source: Rebuffi et al., There and Back Again (2020), main text, phase 2 of the framework.

    >>> aggregate(torch.tensor([3.0, -4.0]).reshape(1, 2, 1)).item()
    5.0
    """
    check_choice(how, HOWS, "aggregate")
    if phi.ndim < 3 or phi.numel() == 0:
        raise InvalidInputError(f"phi must be non-empty, of shape (n, d, positions ...), got {tuple(phi.shape)}")
    if how == "norm":
        return torch.linalg.vector_norm(phi, dim=1, keepdim=True)
    if how == "filter_norm":
        return torch.linalg.vector_norm(phi.clamp_min(0), dim=1, keepdim=True)
    if how == "max":
        return phi.amax(1, keepdim=True)
    if how == "max_abs":
        return phi.abs().amax(1, keepdim=True)
    total = phi.sum(1, keepdim=True)
    return total.clamp_min(0) if how == "relu_sum" else total


def contribution_map(
    x: Float[Tensor, "n k *positions"],
    g: Float[Tensor, "n k_out *out"],
    kind: Kind = "conv1x1",
    how: How = "norm",
    conv: nn.Module | None = None,
) -> Float[Tensor, "n 1 *out"]:
    r"""Aggregate the contributions of each position in closed form: `aggregate(extract(...))` without the matrices.

    A contribution is an outer product, so that $\lVert g_u w_u^\top \rVert_F = \lVert g_u \rVert \lVert w_u \rVert$,
    $\sum = \sum g_u \sum w_u$, $\lVert \max(g_u w_u^\top, 0) \rVert_F^2 = \lVert g_u^+ \rVert^2 \lVert w_u^+ \rVert^2 +
    \lVert g_u^- \rVert^2 \lVert w_u^- \rVert^2$, and the largest entry is a product of extremes; the channels are
    reduced before windows are taken.

    Cost: time and memory O(n (k + window) u) for u positions.

    Args:
        x: Activation, channels first; with "layer", the input of that layer.
        g: Gradient of the score at the layer's output.
        kind: As for `extract`.
        how: As for `aggregate`.
        conv: As for `extract`.

    Raises:
        InvalidInputError: As for `extract` and `aggregate`.

    Source: Rebuffi et al., There and Back Again (2020), main text, the norm of an outer product; the closed forms of
    the other aggregations are derived here.

    >>> contribution_map(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2))[0, 0, 0, 0].item()
    4.0
    """
    check_choice(how, HOWS, "aggregate")
    parts = factors_of(x, g, kind, conv)
    n, groups = len(parts.x), parts.window.groups
    left = _reduced(parts.g.reshape(n, groups, -1, parts.g.shape[-1]), how)
    right = _reduced(parts.x.reshape(n, groups, -1, *parts.x.shape[2:]), how)
    windows = [_over_window(value, parts.window, how, index) for index, value in enumerate(right)]
    _check_positions(parts, windows[0].shape[-1])
    products = [a * b for a, b in zip(left, windows, strict=True)]
    if how == "max":  # the largest product of two entries is one of extremes
        crossed = [a * b for a, b in zip(left, reversed(windows), strict=True)]
        found = torch.stack(products + crossed).amax(0).amax(1)
    elif how == "max_abs":
        found = products[0].amax(1)
    else:
        found = torch.stack(products).sum(0).sum(1)
        found = found.sqrt() if how in ("norm", "filter_norm") else found.clamp_min(0) if how == "relu_sum" else found
    return found.reshape(n, 1, *parts.positions)


def _reduced(value: Tensor, how: str) -> list[Tensor]:
    """Return what an aggregation needs of a factor of shape (n, groups, channels, ...): one or two values a place."""
    if how == "norm":
        return [value.square().sum(2)]
    if how == "filter_norm":
        return [value.clamp_min(0).square().sum(2), value.clamp_max(0).square().sum(2)]
    if how == "max":
        return [value.amax(2), value.amin(2)]
    return [value.abs().amax(2) if how == "max_abs" else value.sum(2)]


def _over_window(value: Float[Tensor, "n groups h w"], window: Window, how: str, index: int) -> Tensor:
    """Return a value of each place, reduced over the window of each position."""
    n, groups = value.shape[:2]
    entries = window.unfold(value.reshape(n * groups, 1, *value.shape[2:]))
    extreme = torch.amin if index else torch.amax
    found = extreme(entries, 1) if how in ("max", "max_abs") else entries.sum(1)
    return found.reshape(n, groups, -1)


def _check_positions(parts: Factors, found: int) -> None:
    if found != parts.g.shape[-1]:
        raise InvalidInputError(
            f"the layer makes {found} positions of this input, and g has {parts.g.shape[-1]}; pass the gradient at "
            "the output of the same layer"
        )


class VirtualIdentity(nn.Module):
    """Pass an activation on through a layer that changes nothing, whose weight gradient `extract` takes apart.

    Args:
        kind: "bias", "scaling", "conv1x1", "conv3x3" or "depthwise3x3".
        channels: Of the activation.
        axes: Axes of positions: 2 for images, 1 for sequences.

    Raises:
        InvalidInputError: An unknown kind, or a size that is out of range.

    Source: Rebuffi et al., There and Back Again (2020), main text, the virtual identity layer.

    >>> VirtualIdentity("conv3x3", 2)(torch.ones(1, 2, 3, 3)).sum().item()
    18.0
    """

    def __init__(self, kind: Kind, channels: int, axes: int = 2) -> None:
        super().__init__()
        check_choice(kind, ("bias", "scaling", "conv1x1", "conv3x3", "depthwise3x3"), "kind")
        check_count(channels, "channels")
        check_choice(axes, (1, 2), "axes")
        self.kind, self.channels, self.axes = kind, channels, axes
        if kind in ("bias", "scaling"):
            start = torch.zeros(channels) if kind == "bias" else torch.ones(channels)
        else:
            size = 3 if kind.endswith("3x3") else 1
            groups = channels if kind == "depthwise3x3" else 1
            start = nn.init.dirac_(torch.empty(channels, channels // groups, *axes * [size]), groups)
        self.weight = nn.Parameter(start)

    def forward(self, x: Float[Tensor, "n k *positions"]) -> Float[Tensor, "n k *positions"]:
        """Return the activation as it is.

        Raises:
            InvalidInputError: It has other channels or axes.
        """
        if x.ndim != self.axes + 2 or x.shape[1] != self.channels:
            raise InvalidInputError(
                f"x must have {self.channels} channels and {self.axes} axes of positions, got {tuple(x.shape)}"
            )
        if self.kind in ("bias", "scaling"):
            weight = self.weight.reshape(-1, *self.axes * [1])
            return x + weight if self.kind == "bias" else x * weight
        convolve = F.conv2d if self.axes == 2 else F.conv1d
        groups = self.channels if self.kind == "depthwise3x3" else 1
        return convolve(x, self.weight, padding=self.weight.shape[-1] // 2, groups=groups)
