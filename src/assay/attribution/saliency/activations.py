"""Activations of a layer and the gradients of class scores in them, also through an inner step of SGD."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    LayerWatch,
    Parameters,
    check_labels,
    find_layer,
    functional,
    is_probabilities,
    named_parameters,
    plain_attention,
    preserved,
    watch_layers,
)

Target: TypeAlias = int | Sequence[int] | Tensor | None
Score: TypeAlias = Literal["logit", "log_probability"]

SCORES = ("logit", "log_probability")

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


def class_rows(outputs: Shaped[Tensor, "n *c"], target: Target) -> tuple[Tensor, Target]:
    """Return one row of scores a sample, and what of the target is the class.

    A tuple indexes the axes of the outputs behind the first, the class last, as for networks that score a class at each
    position.

    Raises:
        InvalidInputError: The outputs have other axes than the target.
    """
    if isinstance(target, tuple):
        if len(target) != outputs.ndim - 1:
            raise InvalidInputError(
                f"target {target} indexes {len(target)} axes, and outputs of shape {tuple(outputs.shape)} have "
                f"{outputs.ndim - 1} behind the first; give one index for each"
            )
        outputs, target = outputs[(slice(None), *target[:-1])], int(target[-1])
    if outputs.ndim > 2:
        raise InvalidInputError(
            f"the model gives outputs of shape {tuple(outputs.shape)}; give target as a tuple of one index for each "
            "axis behind the first, such as (position, class)"
        )
    rows = outputs.reshape(len(outputs), -1)
    if is_probabilities(rows.detach()):
        raise InvalidInputError(
            "the model returns probabilities, and the gradient of a logit is explained; take the softmax off, or wrap "
            "it: nn.Sequential(model, assay.core.LogProbabilities())"
        )
    return rows, target


def read_classes(rows: Float[Tensor, "n c"], target: Target) -> Tensor:
    """Return the class of each sample: the target, or that of the highest score.

    Raises:
        InvalidInputError: The target is not one class, or one for each sample.
    """
    n, c = rows.shape
    if target is None:
        return (rows[:, 0] > 0).long() if c == 1 else rows.argmax(1)
    if isinstance(target, bool) or not isinstance(target, (int, Tensor, list)):
        raise InvalidInputError(f"target must be a class, one for each sample, or None, got {type(target).__name__}")
    given = torch.as_tensor(target, device=rows.device)
    labels = check_labels(given.expand(n) if given.ndim == 0 else given, max(c, 2), "target")
    if len(labels) != n:
        raise InvalidInputError(f"target has {len(labels)} classes for {n} samples; give one for each, or a single one")
    return labels


def log_probability(rows: Float[Tensor, "n c"], classes: Tensor) -> Float[Tensor, " n"]:
    """Return the logarithm of each sample's class probability; its gradient does not vanish at probability 1."""
    if rows.shape[1] == 1:
        return F.logsigmoid((2 * classes - 1).to(rows) * rows[:, 0])
    others = rows.scatter(1, classes[:, None], float("-inf")).logsumexp(1)
    return F.logsigmoid(rows.gather(1, classes[:, None])[:, 0] - others)


def class_score(rows: Float[Tensor, "n c"], classes: Tensor, score: Score) -> Float[Tensor, " n"]:
    """Return the score of each sample's class."""
    if score == "log_probability":
        return log_probability(rows, classes)
    if rows.shape[1] == 1:
        return (2 * classes - 1).to(rows) * rows[:, 0]
    return rows.gather(1, classes[:, None])[:, 0]


def layer_gradients(
    model: nn.Module, layer: str | None, x: Tensor, target: Target, *, score: Score, channel_axis: int | None
) -> Activations:
    """Return a layer's activations and the gradients of class scores in them; None is the input of the network.

    Raises:
        InvalidInputError: The layer does not run, the scores do not depend on it, or it has no positions.
    """
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
