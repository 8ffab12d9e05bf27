"""Activations of a layer and the gradients of class scores in them, also through an inner step of SGD."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.attribution.saliency.class_scores import (
    Score,
    Target,
    class_rows,
    class_score,
    log_probability,
    read_classes,
)
from assay.core import (
    InvalidInputError,
    Parameters,
    find_layer,
    functional,
    named_parameters,
    plain_attention,
    preserved,
    unwrapped,
    watch_layers,
)
from assay.core.layers import LayerWatch

_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention)
_ROWS_OF_CHANNELS = (nn.Conv1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.MaxPool1d, nn.AvgPool1d)


@dataclass(frozen=True)
class Activations:
    """What a layer gives and reads, and the gradient of each sample's score at its output, channels first.

    Attributes:
        output: Activation.
        read: Input of the layer; None for the input of the network.
        gradient: Of the score, in the activation.
    """

    output: Float[Tensor, "n k *positions"]
    read: Tensor | None
    gradient: Float[Tensor, "n k *positions"]


def layer_gradients(
    model: nn.Module, layer: str | None, x: Tensor, target: Target, *, score: Score, channel_axis: int | None
) -> Activations:
    """Return a layer's activations and the gradients of class scores in them; None is the input of the network.

    Raises:
        InvalidInputError: The layer does not run, the scores do not depend on it, or it has no positions.
    """
    model = unwrapped(model)  # compiled code calls no hooks
    read: list[Tensor] = []
    with preserved(model), plain_attention(), _watched(model, layer, read) as watch:
        start = _leaf(x) if layer is None else x
        rows, target = class_rows(model(start), target)
        values = class_score(rows, read_classes(rows, target), score)
        output = start if layer is None else _recorded(watch.outputs, layer)
        gradient = _gradient(values.sum(), output, layer)
    return _in_order(model, layer, output, read[0] if read else None, gradient, len(x), channel_axis)


def meta_gradients(
    model: nn.Module,
    layer: str | None,
    x: Shaped[Tensor, "1 *d"],
    target: Target,
    *,
    score: Score,
    channel_axis: int | None,
    eps: float,
    second_order: bool,
) -> Activations:
    r"""Return one sample's activation $a$ and the gradient of $s(a; \theta - \epsilon \nabla_\theta \ell(a; \theta))$.

    The step descends the cross-entropy of the class, and moves the parameters that it depends on besides the
    activation, which is a variable: those behind the layer and on paths around it.

    Raises:
        InvalidInputError: As for `layer_gradients`.
    """
    model = unwrapped(model)  # compiled code calls no hooks
    read: list[Tensor] = []
    with preserved(model), plain_attention():
        with _watched(model, layer, read) as watch, torch.no_grad():
            rows, at_class = class_rows(model(x), target)
            output = x if layer is None else _recorded(watch.outputs, layer)
            classes = read_classes(rows, at_class)
        start = _leaf(output.clone())
        call = functional(model)
        own = {name: value.clone().requires_grad_() for name, value in named_parameters(model).items()}

        def score_rows(values: Parameters) -> Tensor:
            replace = {} if layer is None else {layer: lambda _: start.clone()}
            with watch_layers(model, [], replace=replace):
                return class_rows(call(values, start if layer is None else x), target)[0]

        inner = -log_probability(score_rows(own), classes).sum()
        slopes = torch.autograd.grad(inner, list(own.values()), create_graph=second_order, allow_unused=True)
        moved = {
            name: value if slope is None else value - eps * slope
            for (name, value), slope in zip(own.items(), slopes, strict=True)
        }
        if not second_order:
            moved = {name: value.detach() for name, value in moved.items()}
        gradient = _gradient(class_score(score_rows(moved), classes, score).sum(), start, layer)
    return _in_order(model, layer, output, read[0] if read else None, gradient, len(x), channel_axis)


def _leaf(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise InvalidInputError(f"the network reads {x.dtype}, and integers have no gradient; name a layer behind it")
    return x.detach().requires_grad_()


@contextmanager
def _watched(model: nn.Module, layer: str | None, read: list[Tensor]) -> Iterator[LayerWatch]:
    """Watch a layer, and keep a copy of what it reads: an operation in place may write into it later."""
    if layer is None:
        yield LayerWatch()
        return

    def keep(given: Tensor) -> Tensor:
        read.append(watch.inputs[layer].detach().clone())
        return given.clone()

    with watch_layers(model, [layer], replace={layer: keep}) as watch:
        yield watch


def _recorded(outputs: dict[str, Tensor], layer: str) -> Tensor:
    if layer not in outputs:
        raise InvalidInputError(f"layer {layer!r} does not run in a forward pass; name one that does")
    return outputs[layer]


def _gradient(score: Tensor, output: Tensor, layer: str | None) -> Tensor:
    slope: Tensor | None = None
    if score.requires_grad and output.requires_grad:
        (slope,) = torch.autograd.grad(score, output, allow_unused=True)
    if slope is None:
        place = "the input" if layer is None else f"layer {layer!r}"
        raise InvalidInputError(
            f"autograd finds no way from the class score to {place}; name a layer that the score depends on, and take "
            "torch.no_grad() and .detach() out of the forward pass"
        )
    return slope


def _in_order(
    model: nn.Module,
    layer: str | None,
    output: Tensor,
    read: Tensor | None,
    gradient: Tensor,
    n: int,
    channel_axis: int | None,
) -> Activations:
    """Return activations with the channels behind the axis of samples."""
    module = None if layer is None else find_layer(model, layer)
    place = "the input" if layer is None else f"layer {layer!r}"
    if isinstance(module, nn.MultiheadAttention) and not module.batch_first:
        raise InvalidInputError(f"{place} has its samples on the second axis; build it with batch_first=True")
    if output.ndim < 3 or len(output) != n:
        raise InvalidInputError(
            f"{place} has shape {tuple(output.shape)} for {n} samples, without channels and positions; name a layer "
            "of shape (n, channels, h, w) or (n, tokens, channels)"
        )
    last = isinstance(module, _CHANNELS_LAST) or (output.ndim == 3 and not isinstance(module, _ROWS_OF_CHANNELS))
    axis = channel_axis if channel_axis is not None else -1 if last else 1
    if not -output.ndim < axis < output.ndim or axis == 0:
        raise InvalidInputError(f"channel_axis {axis} is none of an activation of shape {tuple(output.shape)}")
    output, gradient = (value.detach().movedim(axis, 1) for value in (output, gradient))
    read = read.movedim(axis, 1) if read is not None and read.ndim == output.ndim else None
    return Activations(output, read, gradient)
