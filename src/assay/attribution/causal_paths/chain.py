"""Chain of weighted layers of a network: which unit of a layer feeds which columns of the next layer's weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, find_layer, layer_names, preserved, unwrapped, watch_layers

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_NEAR = {2: 3e-2, 4: 1e-4, 8: 1e-9}  # relative to the largest entry, by the bytes of a number


@dataclass(frozen=True)
class LayerChain:
    """Weighted layers in the order in which they run, the last of them with one unit for each class.

    Attributes:
        layers: Names of `named_modules`.
        units: Units that each layer reads: those of the layer below, of the first layer the inputs or their channels.
        columns: Columns of each layer's weight that one of these units owns: the pixels of a flattened channel, or 1.
        cuts: Whether each layer's output alone, for any number of rows, decides the logits; the part below it need not
            run again then.
    """

    layers: tuple[str, ...]
    units: tuple[int, ...]
    columns: tuple[int, ...]
    cuts: tuple[bool, ...]


def layer_chain(
    model: nn.Module, x: Shaped[Tensor, "n *d"], layers: Sequence[str] | None = None, *, n_classes: int
) -> LayerChain:
    """Find the dense and convolution layers of a network in their order, and match the units of neighbours.

    Without `layers` the network must be a chain: the output of each layer decides the logits, and each of its units
    feeds its own columns of the next weight alone. This is tried on samples, not read from names.

    Args:
        model: Network that `check_scores` has looked at.
        x: Samples.
        layers: Names of dense and convolution layers, in their order, the last one gives the logits; all by default.
        n_classes: Logits.

    Raises:
        InvalidInputError: The network has branches or mixes units between layers, a layer is of another kind, or sizes
            do not fit.
    """
    found = layer_names(model, x)
    if layers is None:
        names = tuple(name for name in found if isinstance(find_layer(model, name), WEIGHTED))
    elif isinstance(layers, str):
        raise InvalidInputError(f"layers is a list of names, such as [{layers!r}], got {layers!r}")
    else:
        names = tuple(layers)
    for name in names:
        _check_kind(name, find_layer(model, name), found)
    if not names:
        raise InvalidInputError("the network has no dense or convolution layer that runs once; there are no paths")
    if sorted(names, key=found.index) != list(names):
        raise InvalidInputError(f"layers {', '.join(names)} do not run in this order; name them as they run")
    modules = [find_layer(model, name) for name in names]
    units, columns = [_n_inputs(modules[0])], [1]
    for (name, lower), (next_name, upper) in pairwise(zip(names, modules, strict=True)):
        units.append(_n_outputs(lower))
        columns.append(_columns(name, lower, next_name, upper))
    if _n_outputs(modules[-1]) != n_classes:
        raise InvalidInputError(
            f"layer {names[-1]!r} has {_n_outputs(modules[-1])} units for {n_classes} logits; the last layer of the "
            "chain must give the logits: name a chain that ends there with layers=[...]"
        )
    cuts = tuple(_cuts(model, x, name, required=layers is None) for name in names)
    if layers is None:
        for (lower, upper), width in zip(pairwise(names), columns[1:], strict=True):
            _check_units_apart(model, x, lower, upper, width)
    return LayerChain(names, tuple(units), tuple(columns), cuts)


def unit_axis(layer: nn.Module) -> int:
    """Return the axis of the units in what a layer reads and gives."""
    return -1 if isinstance(layer, nn.Linear) else 1


def _check_kind(name: str, layer: nn.Module, found: list[str]) -> None:
    if not isinstance(layer, WEIGHTED):
        raise InvalidInputError(f"layer {name!r} is {type(layer).__name__}; name dense and convolution layers")
    if name not in found:
        raise InvalidInputError(
            f"layer {name!r} does not run exactly once in a forward pass with one row a sample; name layers that do"
        )


def _n_inputs(layer: nn.Module) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else int(getattr(layer, "in_channels"))  # noqa: B009


def _n_outputs(layer: nn.Module) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else int(getattr(layer, "out_channels"))  # noqa: B009


def _columns(name: str, lower: nn.Module, next_name: str, upper: nn.Module) -> int:
    given, read = _n_outputs(lower), _n_inputs(upper)
    flattened = isinstance(upper, nn.Linear) and not isinstance(lower, nn.Linear)
    if given == read:
        return 1
    if flattened and read % given == 0:
        return read // given
    raise InvalidInputError(
        f"layer {next_name!r} reads {read} numbers and layer {name!r} has {given} units, which do not match; "
        "name layers that feed each other with layers=[...]"
    )


def _near(one: Tensor, other: Tensor) -> bool:
    if one.numel() != other.numel():
        return False
    gap = (one.reshape(other.shape) - other).abs().max()
    return bool(gap <= _NEAR[other.dtype.itemsize] * other.abs().max())


@torch.no_grad()
def _cuts(model: nn.Module, x: Tensor, name: str, *, required: bool) -> bool:
    """Put a layer's outputs of some samples into a forward pass of another sample: are the logits those of the former?

    Whether the number of rows may differ is another matter: a network may fix it in a `view`.
    """
    model = unwrapped(model)  # compiled code calls no hooks
    rows = torch.cat([x[:2], x[:1].flip(-1)])
    with preserved(model), watch_layers(model, [name]) as watch:
        logits = model(rows)
        output = watch.outputs[name]
    others = rows.roll(1, 0)
    with preserved(model), watch_layers(model, (), replace={name: lambda _: output.clone()}):
        decides = _near(model(others), logits)
        if not decides and required:
            raise InvalidInputError(
                f"the output of layer {name!r} does not decide the logits alone: the network has a branch or residual "
                "around it; name a chain of layers that feed each other with layers=[...], the last gives the logits"
            )
        if not decides:
            return False
        try:
            return _near(model(others[:1]), logits)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a network may raise anything where the rows do not fit; the plain passes above did not
            return False


@torch.no_grad()
def _check_units_apart(model: nn.Module, x: Tensor, lower: str, upper: str, columns: int) -> None:
    """Require that a unit of one layer moves its own columns of the next layer's input alone.

    The bits of the units' numbers, and their complements, say which units are moved together: a unit that moves
    another one's columns is found where their bits differ. Cost: one forward pass of 2 log2(units) rows.
    """
    model = unwrapped(model)  # compiled code calls no hooks
    axis, layer = unit_axis(find_layer(model, lower)), find_layer(model, upper)
    n_units = _n_outputs(find_layer(model, lower))
    number = torch.arange(n_units, device=x.device)
    bits = torch.stack([(number >> bit) & 1 for bit in range(max(1, (n_units - 1).bit_length()))])
    moved = torch.cat([torch.zeros_like(bits[:1]), bits, 1 - bits])
    rows = x[:1].expand(len(moved), *x.shape[1:])

    def move(output: Tensor) -> Tensor:
        shape = [len(moved), *(1 for _ in output.shape[1:])]
        shape[axis] = n_units
        return output + moved.reshape(shape).to(output) * (output.abs().mean() + 1)

    with preserved(model), watch_layers(model, [upper], replace={lower: move}) as watch:
        model(rows)
        read = watch.inputs[upper].movedim(unit_axis(layer), 1)
        read = read.reshape(*read.shape[:2], -1)
    change = (read - read[:1]).abs()
    changed = (change > _NEAR[read.dtype.itemsize] * (read.abs().max() + 1)).any(2)
    changed = changed.reshape(len(moved), n_units, columns).any(2)
    if bool((changed & (moved == 0)).any()):
        raise InvalidInputError(
            f"units of layer {lower!r} are mixed before layer {upper!r} reads them, as by a layer norm or an "
            "attention; where the columns of the one still stand for the units of the other, say so with layers=[...]"
        )


def weighted_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a dense or convolution layer by its name.

    Raises:
        InvalidInputError: There is no such layer, or it is of another kind.
    """
    layer = find_layer(unwrapped(model), name)
    if not isinstance(layer, WEIGHTED):
        raise InvalidInputError(f"layer {name!r} is {type(layer).__name__}; name a dense or convolution layer")
    return layer


def dense_weight(layer: nn.Module) -> tuple[Float[Tensor, "e j *k"], Tensor | None]:
    """Return a layer's weight over all its inputs, and which entries exist where a convolution has groups."""
    weight = cast(Tensor, layer.weight).detach()
    groups = 1 if isinstance(layer, nn.Linear) else int(getattr(layer, "groups"))  # noqa: B009
    if groups == 1:
        return weight, None
    n_out, n_in = len(weight), weight.shape[1] * groups
    group = torch.arange(n_out, device=weight.device) * groups // n_out
    place = group[:, None] * weight.shape[1] + torch.arange(weight.shape[1], device=weight.device)
    full = weight.new_zeros(n_out, n_in, *weight.shape[2:])
    exists = torch.zeros(n_out, n_in, dtype=torch.bool, device=weight.device).scatter_(1, place, True)
    full[exists] = weight.flatten(0, 1)
    return full, exists
