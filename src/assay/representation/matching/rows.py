"""Activations of a layer as a matrix with a column for each unit."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_count,
    check_finite,
    check_outputs,
    check_samples,
    find_layer,
    preserved,
    track,
    unwrapped,
    watch_layers,
)
from assay.core.layers import check_sample_axis

_CHANNELS_FIRST = (
    nn.Conv1d,
    nn.ConvTranspose1d,
    nn.BatchNorm1d,
    nn.InstanceNorm1d,
    nn.MaxPool1d,
    nn.AvgPool1d,
    nn.AdaptiveAvgPool1d,
)


def unit_rows(
    outputs: Float[Tensor, "n *h"], layer: nn.Module | None = None, *, unit_axis: int | None = None
) -> Float[Tensor, "s u"]:
    """Reshape what a layer gives to a matrix: a row for each position of each sample, a column for each unit.

    Units are channels of a convolution and features of a dense layer or a transformer.

    Args:
        outputs: Outputs with the axis of samples first.
        layer: The layer, whose type tells the axis of units of outputs with three axes.
        unit_axis: Axis of the units. By default 1, but the last one of three axes, `(n, positions, features)`, unless
            the layer is a one-dimensional convolution, normalisation or pooling.

    Raises:
        InvalidInputError: There is no such axis, or it is that of the samples.

    >>> unit_rows(torch.zeros(5, 3, 2, 2)).shape, unit_rows(torch.zeros(5, 7, 3)).shape
    (torch.Size([20, 3]), torch.Size([35, 3]))
    """
    if outputs.ndim < 2:
        raise InvalidInputError(f"a layer must give a row of units for each sample, got shape {tuple(outputs.shape)}")
    if unit_axis is None:
        unit_axis = -1 if outputs.ndim == 3 and not isinstance(layer, _CHANNELS_FIRST) else 1
    if not -outputs.ndim < unit_axis < outputs.ndim or unit_axis == 0:
        raise InvalidInputError(
            f"unit_axis is {unit_axis}, but the layer gives shape {tuple(outputs.shape)}; name an axis behind the first"
        )
    return outputs.movedim(unit_axis, -1).flatten(0, -2)


def paired_rows(
    models: Sequence[nn.Module],
    x: Shaped[Tensor, "n *d"],
    layers: Sequence[str],
    *,
    unit_axis: int | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> Iterator[list[Float[Tensor, "s _"]]]:
    """Yield, batch by batch, the activations of one layer of each network on the same inputs.

    Args:
        models: Networks; they come back as they were.
        x: Inputs; integers for networks that read tokens.
        layers: Layer of each network, by name.
        unit_axis: Axis of the units, see `unit_rows`.
        batch_size: Samples a forward pass.
        progress: Draw a bar on standard error.

    Yields:
        A matrix of rows by units for each network; all have as many rows.

    Raises:
        InvalidInputError: A model, `x` or a layer is unusable, or layers have different numbers of positions.
        NumericalError: An activation is NaN or infinite.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> [[len(rows) for rows in batch] for batch in paired_rows([net, net], torch.ones(5, 2), ["1", "0"], batch_size=4)]
    [[4, 4], [1, 1]]
    """
    models = [unwrapped(model) for model in models]  # compiled code calls no hooks
    x = check_samples(x, tokens=True)
    check_count(batch_size, "batch_size")
    modules = [find_layer(model, name) for model, name in zip(models, layers, strict=True)]
    for model, name in zip(models, layers, strict=True):
        check_outputs(model, x)
        check_sample_axis(model, x, [name])
    for batch in track(x.split(batch_size), "reading layers", enabled=progress):
        found: list[Tensor] = []
        for model, name, module in zip(models, layers, modules, strict=True):
            with ExitStack() as stack:
                stack.enter_context(preserved(model))
                watch = stack.enter_context(watch_layers(model, [name]))
                stack.enter_context(torch.no_grad())
                model(batch.clone())
                found.append(_rows(watch.outputs.get(name), name, module, len(batch), unit_axis))
        if len({len(rows) for rows in found}) > 1:
            raise InvalidInputError(
                f"layers {', '.join(map(repr, layers))} have {', '.join(str(len(rows)) for rows in found)} positions "
                f"on {len(batch)} samples; compare layers with the same positions"
            )
        yield found


def _rows(output: Tensor | None, name: str, module: nn.Module, n: int, unit_axis: int | None) -> Tensor:
    if output is None:
        raise InvalidInputError(f"layer {name!r} does not run in a forward pass; name one that does")
    if output.ndim == 0 or len(output) != n:
        raise InvalidInputError(
            f"layer {name!r} gives shape {tuple(output.shape)} for {n} samples; name a layer whose first axis is that "
            "of the samples"
        )
    rows = unit_rows(output.detach(), module, unit_axis=unit_axis)
    check_finite(rows, f"the activations of layer {name!r}")
    return rows
