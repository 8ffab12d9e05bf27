"""Squared norms of per-sample gradients from inputs and output gradients of layers (Goodfellow, 2015)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn.grad import conv2d_weight

from assay.core.layer_calls import LayerCall, Role

_LARGEST = 2**24  # entries of a temporary matrix
_FEW_CHANNELS = 8  # below which kernels of grouped convolutions are slow

_CONVOLUTIONS = (F.conv1d, F.conv2d)
_OF_LAST_AXES = (F.layer_norm, F.rms_norm)


@dataclass(frozen=True)
class Ghost:
    """Squared norms of the gradients of samples, and their sum where it is a by-product."""

    square_norms: Float[Tensor, " n"]
    total: Tensor | None = None


def ghost_square_norms(
    uses: Sequence[tuple[LayerCall, Role]],
    references: Sequence[tuple[LayerCall, Role]],
    slopes: Mapping[LayerCall, Tensor],
    n: int,
) -> Ghost | None:
    r"""Compute $\lVert \nabla_w \ell_i \rVert^2$ of every sample for one parameter, from all its uses in a batch.

    A weight that multiplies inputs $a_{it}$ at positions t, whose outputs have gradients $b_{it}$, has the gradient
    $\sum_t b_{it} a_{it}^\top$ on sample i, with the squared norm $\sum_{ts} (a_{it}\cdot a_{is})(b_{it}\cdot b_{is})$:
    the smaller of the two forms is computed. Several uses are more positions.

    Args:
        uses: The calls that used the parameter, on n samples.
        references: The same calls on one sample; they tell which axis the samples are on.
        slopes: Gradients of the loss's sum in the outputs of the calls.
        n: Samples, at least two.

    Returns:
        The squared norms, and the sum of the gradients where it is at hand; None where the samples' shares cannot be
        told apart, or uses of different kinds meet.
    """
    found = []
    if len(uses) == 1 and uses[0][1] == "weight" and uses[0][0].operation in _CONVOLUTIONS:
        return _single_convolution(uses[0][0], references[0][0], slopes, n)
    for (call, role), (reference, _) in zip(uses, references, strict=True):
        axis = _sample_axis(call, reference, n)
        slope = slopes.get(call)
        share = None if axis is None or slope is None else _share(call, role, slope, axis, n)
        if share is None:
            return None
        found.append(share)
    if len({len(share) for share in found}) > 1:
        return None
    if len(found[0]) == 1:  # the gradient itself, of each sample
        gradients = torch.stack([share[0] for share in found]).sum(0)
        return Ghost(gradients.reshape(n, -1).square().sum(1), gradients.sum(0))
    if len(found[0]) == 2:
        inputs, outputs = zip(*found, strict=True)
        if len({part.shape[1] for part in inputs}) > 1:
            return None
        return Ghost(_product_square_norms(torch.cat(inputs, 2), torch.cat(outputs, 2)))
    tokens, outputs, sizes = zip(*found, strict=True)
    return Ghost(_sparse_square_norms(torch.cat(tokens, 1), torch.cat(outputs, 1), sizes[0]))


def _single_convolution(
    call: LayerCall, reference: LayerCall, slopes: Mapping[LayerCall, Tensor], n: int
) -> Ghost | None:
    if call not in slopes or _sample_axis(call, reference, n) != 0:
        return None
    images = _convolution(call.arguments, _wide(slopes[call]))
    return None if images is None else images.ghost(n, call.arguments["weight"].shape)


def _share(call: LayerCall, role: Role, slope: Tensor, axis: int, n: int) -> tuple[Any, ...] | None:
    """Return the gradient of each sample, or the factors of which it is the product, or the rows that it fills."""
    slope = _wide(slope)
    if role == "bias" or call.operation not in (F.linear, F.embedding, *_CONVOLUTIONS):
        scaled = slope if role == "bias" else slope * _normalised(call)
        if call.operation is F.linear:
            return (_summed(_split(scaled, axis, n), scaled.shape[-1:]),)
        if call.operation in _OF_LAST_AXES:
            return (_summed(_split(scaled, axis, n), tuple(call.arguments["normalized_shape"])),)
        if axis != 0:
            return None
        return (_split(scaled, 0, n).flatten(3).sum((1, 3)) if scaled.ndim > 2 else _split(scaled, 0, n).sum(1),)
    inputs = call.arguments["input"]
    if call.operation is F.embedding:
        return _token_rows(call.arguments, slope, axis, n)
    if call.operation is F.linear:
        rows = _wide(inputs)
        return tuple(_split(part, axis, n).reshape(n, 1, -1, part.shape[-1]) for part in (rows, slope))
    images = _convolution(call.arguments, slope) if axis == 0 else None
    return None if images is None else images.rows(n)


def _sample_axis(call: LayerCall, reference: LayerCall, n: int) -> int | None:
    """Return the axis of inputs and outputs that is n times as long as for one sample; None if there is not just one.

    Where the axis holds several rows of a sample, these are taken to be neighbours.
    """
    pairs = (
        (tuple(call.arguments["input"].shape), tuple(reference.arguments["input"].shape)),
        (call.shape, reference.shape),
    )
    axes = []
    for shape, single in pairs:
        if len(shape) != len(single):
            return None
        longer = [axis for axis, size in enumerate(shape) if size != single[axis]]
        if len(longer) != 1 or shape[longer[0]] != n * single[longer[0]]:
            return None
        axes += longer
    return axes[0] if axes[0] == axes[1] else None


def _split(tensor: Tensor, axis: int, n: int) -> Shaped[Tensor, "n *rest"]:
    shape = tensor.shape
    parts = tensor.reshape(*shape[:axis], n, shape[axis] // n, *shape[axis + 1 :])
    return parts.movedim(axis, 0)


def _summed(parts: Tensor, features: Sequence[int]) -> Float[Tensor, "n *d"]:
    return parts.reshape(len(parts), -1, *features).sum(1)


def _normalised(call: LayerCall) -> Tensor:
    """Return the input of the scale of a normalisation: its output without scale and shift."""
    kept = {
        name: _wide(value) if isinstance(value, Tensor) else value
        for name, value in call.arguments.items()
        if name not in ("input", "weight", "bias")
    }
    return call.operation(_wide(call.arguments["input"]), **kept)


def _token_rows(arguments: Mapping[str, Any], slope: Tensor, axis: int, n: int) -> tuple[Tensor, Tensor, int] | None:
    if arguments.get("scale_grad_by_freq") or arguments.get("sparse"):
        return None
    size = len(arguments["weight"])
    tokens = _split(arguments["input"], axis, n).reshape(n, -1).long()
    slope = _split(slope, axis, n).reshape(n, -1, slope.shape[-1])
    padding = arguments.get("padding_idx")
    if padding is not None:
        slope = slope * (tokens != padding % size)[..., None]
    return tokens, slope, size


@dataclass(frozen=True)
class _Convolution:
    """A convolution of padded images, and the gradients of its outputs."""

    inputs: Float[Tensor, "m c h w"]
    slope: Float[Tensor, "m o u v"]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def rows(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the patches that the weight multiplies, and the gradients of its outputs."""
        patches = self.inputs
        for axis, (size, stride, step) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True), 2):
            patches = patches.unfold(axis, step * (size - 1) + 1, stride)[..., ::step]
        columns = patches.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)
        return _grouped(columns, n, self.groups), _grouped(self.slope.flatten(2), n, self.groups)

    def ghost(self, n: int, shape: Sequence[int]) -> Ghost:
        """Return the squared norms of the gradients of a weight, in the form that is computed fastest."""
        m, channels = self.inputs.shape[:2]
        positions, fan_out = self.slope.numel() // self.slope.shape[1] // n, self.slope.shape[1] // self.groups
        fan_in = channels // self.groups * math.prod(self.kernel)
        if _is_small(positions, fan_in, fan_out) or channels // self.groups < _FEW_CHANNELS:
            return Ghost(_product_square_norms(*self.rows(n)))
        at_once = max(1, _LARGEST // (fan_in * fan_out * self.groups))
        found, total = [], self.inputs.new_zeros(shape)
        for images, slope in zip(
            self.inputs.reshape(n, m // n, *self.inputs.shape[1:]).split(at_once),
            self.slope.reshape(n, m // n, *self.slope.shape[1:]).split(at_once),
            strict=True,
        ):  # samples as groups of channels
            size = (len(images) * slope.shape[2], channels // self.groups, *self.kernel)
            options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups * len(images)}
            joined = (part.transpose(0, 1).flatten(1, 2) for part in (images, slope))
            gradients = conv2d_weight(next(joined), size, next(joined), **options).reshape(len(images), *shape)
            found.append(gradients.reshape(len(images), -1).square().sum(1))
            total += gradients.sum(0)
        return Ghost(torch.cat(found), total)


def _convolution(arguments: Mapping[str, Any], slope: Tensor) -> _Convolution | None:
    inputs, weight = _wide(arguments["input"]), arguments["weight"]
    spatial = weight.ndim - 2
    if inputs.ndim != weight.ndim:
        return None
    stride, dilation = (_pair(arguments.get(name, 1), spatial) for name in ("stride", "dilation"))
    padding, kernel = arguments.get("padding", 0), tuple(weight.shape[2:])
    if padding == "same":  # an odd total goes to the end
        total = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        sides = [(full // 2, full - full // 2) for full in total]
    else:
        sides = [(side, side) for side in ((0,) * spatial if padding == "valid" else _pair(padding, spatial))]
    inputs = F.pad(inputs, [side for pair in reversed(sides) for side in pair])
    if spatial == 1:  # an image of one row
        inputs, slope, kernel, stride, dilation = (
            inputs[:, :, None],
            slope[:, :, None],
            (1, *kernel),
            (1, *stride),
            (1, *dilation),
        )
    return _Convolution(inputs, slope, kernel, stride, dilation, arguments.get("groups", 1))


def _grouped(channels: Float[Tensor, "m c t"], n: int, groups: int) -> Float[Tensor, "n g positions i"]:
    parts = channels.reshape(n, len(channels) // n, groups, -1, channels.shape[-1])
    return parts[:, 0].mT if parts.shape[1] == 1 else parts.permute(0, 2, 1, 4, 3).flatten(2, 3)


def _pair(value: int | Sequence[int], spatial: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * spatial if len(values) == 1 else values


def _product_square_norms(inputs: Float[Tensor, "n g t i"], outputs: Float[Tensor, "n g t o"]) -> Float[Tensor, " n"]:
    groups, positions, fan_in = inputs.shape[1:]
    fan_out = outputs.shape[-1]
    if positions == 1:
        return (inputs.square().sum(3) * outputs.square().sum(3)).sum((1, 2))
    gram = _is_small(positions, fan_in, fan_out)
    at_once = max(1, _LARGEST // (groups * (positions**2 if gram else fan_in * fan_out)))
    found = []
    for left, right in zip(inputs.split(at_once), outputs.split(at_once), strict=True):
        if gram:  # of values that cancel, rounding may leave less than nothing
            values = ((left @ left.mT) * (right @ right.mT)).flatten(1).sum(1).clamp(min=0)
        else:
            values = (right.mT @ left).flatten(1).square().sum(1)
        found.append(values)
    return torch.cat(found)


def _is_small(positions: int, fan_in: int, fan_out: int) -> bool:
    """Tell whether the products between positions are fewer operations than the gradient of each sample."""
    return positions * (fan_in + fan_out) < fan_in * fan_out


def _sparse_square_norms(
    tokens: Int64[Tensor, "n t"], outputs: Float[Tensor, "n t e"], size: int
) -> Float[Tensor, " n"]:
    """Return the squared norms of gradients that fill the rows of the tokens, each with the sum over its places."""
    n, width = len(tokens), outputs.shape[-1]
    samples = torch.arange(n, device=tokens.device)
    rows, places = (tokens + size * samples[:, None]).unique(return_inverse=True)
    sums = outputs.new_zeros(len(rows), width).index_add_(0, places.reshape(-1), outputs.reshape(-1, width))
    return outputs.new_zeros(n).index_add_(0, rows // size, sums.square().sum(1))


def _wide(values: Tensor) -> Tensor:
    return values.detach().to(torch.promote_types(values.dtype, torch.float32))
