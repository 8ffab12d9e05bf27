"""Access to the layers of a network by name: what goes in, what comes out, and another output in its place."""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from assay.core.checks import check_count, check_samples
from assay.core.errors import InvalidInputError
from assay.core.look import check_outputs
from assay.core.parameters import preserved, unwrapped
from assay.core.progress import track


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the layer of that name in `named_modules`.

    Raises:
        InvalidInputError: The network has no such layer; the message names those that are spelled alike.

    >>> find_layer(nn.Sequential(nn.Linear(2, 1), nn.ReLU()), "1")
    ReLU()
    """
    layers = {key: module for key, module in unwrapped(model).named_modules() if key}
    if name not in layers:
        close = difflib.get_close_matches(name, layers, n=4) or list(layers)[:8]
        raise InvalidInputError(
            f"the network has no layer {name!r}; it has {', '.join(map(repr, close)) or 'no layers at all'}"
            f"{', ...' if len(close) < len(layers) else ''}"
        )
    return layers[name]


@dataclass(eq=False)
class LayerWatch:
    """What the watched layers read and gave in the last forward pass, with the graph that autograd kept.

    Attributes:
        inputs: First tensor that each layer reads, by the layer's name.
        outputs: First tensor that each layer gives, before what `replace` made of it.
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


@contextmanager
def watch_layers(
    model: nn.Module,
    layers: Collection[str],
    *,
    replace: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Iterator[LayerWatch]:
    """Watch layers by name within the block; the hooks are taken off when it ends, also by an exception.

    A tensor stays as the layer left it: the network goes on with a copy, into which an in-place operation may write.
    Where autograd is on, every output belongs to a graph, also behind frozen parameters, so that
    `torch.autograd.grad(score, watch.outputs[name])` works.

    Args:
        model: Network; hold it in `preserved` where it must not change. Of a compiled one call `unwrapped(model)`:
            compiled code calls no hooks.
        layers: Names of `named_modules`.
        replace: By a layer's name, the function of its output that the network goes on with.

    Raises:
        InvalidInputError: The network has no such layer. Within the block: a layer runs twice in one forward pass, or
            reads or gives no tensor.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    >>> with watch_layers(model, ["0"]) as watch:
    ...     score = model(torch.ones(4, 2)).sum()
    >>> torch.autograd.grad(score, watch.outputs["0"])[0].shape
    torch.Size([4, 3])
    """
    watch, replacements = LayerWatch(), replace or {}
    modules = {name: find_layer(model, name) for name in (*layers, *replacements)}
    handles = [unwrapped(model).register_forward_pre_hook(lambda *_: _forget(watch), prepend=True)]
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(_hook(watch, name, replacements.get(name)), with_kwargs=True))
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _forget(watch: LayerWatch) -> None:
    watch.inputs.clear()
    watch.outputs.clear()


def _hook(watch: LayerWatch, name: str, change: Callable[[Tensor], Tensor] | None) -> Callable[..., Any]:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if name in watch.outputs:
            raise InvalidInputError(
                f"layer {name!r} runs more than once in one forward pass; name a layer that runs once"
            )
        read, given = _first_tensor((args, kwargs)), _first_tensor(output)
        if read is None or given is None:
            raise InvalidInputError(
                f"layer {name!r} ({type(module).__name__}) {'reads' if read is None else 'gives'} no tensor; "
                "name a layer that reads and gives tensors"
            )
        kept = given
        if torch.is_grad_enabled() and given.is_floating_point() and not given.requires_grad:
            kept = given.detach().requires_grad_()  # a tensor of its own: the layer may hand on the caller's
        watch.inputs[name], watch.outputs[name] = read, kept
        return _with_first_tensor(output, given, kept.clone() if change is None else change(kept))

    return note


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for part in parts if (found := _first_tensor(part)) is not None), None)


def _with_first_tensor(value: Any, old: Tensor, new: Tensor) -> Any:
    """Return the output of a layer, a tensor or several in tuples, lists or mappings, with one tensor exchanged."""
    if value is old:
        return new
    if isinstance(value, Mapping):
        changed = {key: _with_first_tensor(part, old, new) for key, part in value.items()}
        return changed if type(value) is dict else type(value)(**changed)
    if isinstance(value, (tuple, list)):
        parts = [_with_first_tensor(part, old, new) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def layer_names(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> list[str]:
    """Name the layers that run once in a forward pass and give one floating-point row a sample, in their order.

    Layers are modules without submodules, and those that are parametrised. What the network computes outside of
    modules, such as `F.relu`, has no name.

    Args:
        model: Network; it comes back as it was.
        x: Inputs, of which two are looked at; integers for a network that reads tokens.

    Raises:
        InvalidInputError: The model or `x` are unusable.

    >>> layer_names(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.ones(4, 2))
    ['0', '1', '2']
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    found = [_calls(unwrapped(model), few) for few in one_and_two(x)]  # time may come first, and be of either length
    names = [name for name, _ in found[1]]
    by_sample = [{name for name, rows in calls if rows} for calls in found]
    return [name for name in names if names.count(name) == 1 and name in by_sample[0] & by_sample[1]]


def one_and_two(x: Shaped[Tensor, "n *d"]) -> tuple[Shaped[Tensor, "1 *d"], Shaped[Tensor, "2 *d"]]:
    """Return batches of one and of two samples, to see which axis of an output follows their number.

    >>> [len(few) for few in one_and_two(torch.zeros(1, 3))]
    [1, 2]
    """
    return x[:1], torch.cat([x[:1], x[-1:]])


def check_sample_axis(model: nn.Module, x: Shaped[Tensor, "n *d"], layers: Collection[str]) -> None:
    """Require layers that give one row a sample: those of a recurrent network may give one a step.

    Raises:
        InvalidInputError: There is no such layer, it runs twice in one forward pass, does not run, or its first axis
            does not follow the number of samples.

    Cost: two forward passes of one and of two samples.

    >>> check_sample_axis(nn.Sequential(nn.Linear(2, 1)), torch.ones(3, 2), ["0"])
    """
    network = unwrapped(model)
    with preserved(network), watch_layers(network, layers) as watch, torch.no_grad():
        for few in one_and_two(x):
            network(few)
            for name in layers:
                _rows(watch, name, len(few))


def _calls(network: nn.Module, x: Tensor) -> list[tuple[str, bool]]:
    """Return the layers in the order in which they ran, and whether each gave a row a sample."""
    calls: list[tuple[str, bool]] = []

    def hook(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            first = _first_tensor(output)
            rows = first is not None and first.is_floating_point() and first.ndim > 1 and len(first) == len(x)
            calls.append((name, rows))

        return note

    with preserved(network), torch.no_grad():
        handles = [
            module.register_forward_hook(hook(name))
            for name, module in network.named_modules()
            if name and "parametrizations" not in name.split(".") and (is_parametrized(module) or _is_leaf(module))
        ]
        try:
            network(x)
        finally:
            for handle in handles:
                handle.remove()
    return calls


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def layer_outputs(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    layers: Collection[str],
    *,
    batch_size: int = 256,
    progress: bool = False,
) -> dict[str, Float[Tensor, "n *h"]]:
    """Compute what layers give for each sample, in evaluation mode and without gradients.

    Args:
        model: Network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        layers: Names of `named_modules`; `layer_names` lists those that can be read.
        batch_size: Samples a forward pass.
        progress: Draw a bar on standard error.

    Returns:
        Outputs by the layer's name, in its own shape behind the axis of samples.

    Raises:
        InvalidInputError: The model or `x` are unusable, there is no such layer, it runs twice in one forward pass,
            does not run, or gives no row for each sample.

    Cost: n + 3 forward passes; memory O(n h), with h the entries of all these outputs.

    >>> outputs = layer_outputs(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.ones(4, 2), ["1"])
    >>> outputs["1"].shape
    torch.Size([4, 3])
    """
    x = check_samples(x, tokens=True)
    check_count(batch_size, "batch_size")
    if isinstance(layers, str) or not layers:
        raise InvalidInputError(f"layers is a list of names, such as ['layer1'], got {layers!r}")
    check_outputs(model, x)
    check_sample_axis(model, x, layers)
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    network = unwrapped(model)
    with preserved(network), watch_layers(network, layers) as watch, torch.no_grad():
        for batch in track(x.split(batch_size), "reading layers", enabled=progress):
            network(batch)
            for name, parts in found.items():
                parts.append(_rows(watch, name, len(batch)))
    return {name: torch.cat(parts) for name, parts in found.items()}


def _rows(watch: LayerWatch, name: str, n: int) -> Tensor:
    if name not in watch.outputs:
        raise InvalidInputError(f"layer {name!r} does not run in a forward pass; name one that does")
    output = watch.outputs[name]
    if output.ndim == 0 or len(output) != n:
        raise InvalidInputError(
            f"layer {name!r} gives shape {tuple(output.shape)} for {n} sample{'s' * (n > 1)}; name a layer whose first "
            "axis is that of the samples"
        )
    return output.detach()
