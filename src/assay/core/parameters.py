"""Parameters as named dictionaries and flat vectors, and models restored after use."""

import copy
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from assay.core.checks import check_choice
from assay.core.errors import InvalidInputError, NumericalError

Parameters: TypeAlias = dict[str, Tensor]
Selection: TypeAlias = Literal["trainable", "all"]

_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")

# `requires_grad` of the parameters that `preserved` froze, by identity, as the outermost caller had it.
_flags_before: dict[int, bool] = {}


def named_parameters(model: nn.Module, *, params: Selection = "all") -> Parameters:
    """Return the model's floating-point parameters, detached, by name; a tied parameter appears once.

    Args:
        model: Network, also inside `nn.DataParallel` or `torch.compile`: the names are those of the network itself.
        params: "trainable" leaves out parameters that the caller froze (`requires_grad=False`), unless all are frozen.

    Raises:
        InvalidInputError: Some parameters are complex, not initialised yet, or on the meta device.

    >>> list(named_parameters(nn.Linear(2, 1)))
    ['weight', 'bias']
    """
    check_choice(params, ("trainable", "all"), "params")
    found = dict(_floating_parameters(model))
    if params == "trainable":
        trainable = {name: value for name, value in found.items() if _flags_before.get(id(value), value.requires_grad)}
        found = trainable or found
    # An inference tensor takes part in no graph; its clone outside inference mode does.
    with torch.inference_mode(False):
        return {
            name: value.detach().clone() if value.is_inference() else value.detach() for name, value in found.items()
        }


def select_parameters(model: nn.Module, chosen: Selection | Collection[str]) -> Parameters:
    """Return the parameters of a selection, or those of the given names and below the given modules.

    Args:
        model: Network.
        chosen: The selection of `named_parameters`, or names of parameters and modules.

    Raises:
        InvalidInputError: No parameter has a name, or lies below the module of that name.

    >>> list(select_parameters(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), {"1", "0.bias"}))
    ['0.bias', '1.weight', '1.bias']
    """
    if isinstance(chosen, str):
        return named_parameters(model, params=chosen)  # pyright: ignore[reportArgumentType] - a str is a selection
    every = named_parameters(model)
    found: dict[str, set[str]] = {
        name: {key for key in every if key == name or key.startswith(f"{name}.")} for name in chosen
    }
    missing = [name for name, keys in found.items() if not keys]
    if missing or not found:
        raise InvalidInputError(
            f"params names {', '.join(missing) or 'nothing'}, where the model has no parameter; it has "
            f"{', '.join(list(every)[:8])}{', ...' if len(every) > 8 else ''}"
        )
    return {key: value for key, value in every.items() if any(key in keys for keys in found.values())}


def _floating_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, value in unwrapped(model).named_parameters():
        _require_values(name, value)
        if value.is_complex():
            raise InvalidInputError(
                f"parameter {name} of the model is {value.dtype}, and methods here need real parameters; "
                "hold its real and imaginary parts as torch.view_as_real(parameter)"
            )
        if value.is_floating_point():
            yield name, value


def _require_values(name: str, value: nn.Parameter) -> None:
    if isinstance(value, nn.parameter.UninitializedParameter):
        raise InvalidInputError(
            f"parameter {name} of the model is not initialised yet; call the model once on a batch of inputs first"
        )
    if value.is_meta:
        raise InvalidInputError(
            f"parameter {name} of the model is on the meta device, which holds no values; load them, as by "
            "model.load_state_dict(state, assign=True)"
        )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside `nn.DataParallel`, `DistributedDataParallel` and the wrapper of `torch.compile`.

    >>> layer = nn.Linear(2, 1)
    >>> unwrapped(nn.DataParallel(layer)) is layer
    True
    """
    inner = None
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    elif type(model).__name__ == "OptimizedModule":  # the wrapper of torch.compile has no public name
        inner = dict(model.named_children()).get("_orig_mod")
    return model if inner is None else unwrapped(inner)


def unwrapped_state(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Return a state dict under a network's own names, where those of `nn.DataParallel` and the like stand before them.

    >>> list(unwrapped_state({"module.weight": torch.ones(1)}, ["weight"]))
    ['weight']
    """
    if set(names) <= state.keys():
        return dict(state)
    return {_WRAPPERS.sub("", name): value for name, value in state.items()}


def copy_network(model: nn.Module) -> nn.Module:
    """Return an independent copy of the network itself, without the wrappers that `unwrapped` removes.

    Tensors with a graph that a forward pass left in attributes, such as the weight that `weight_norm` computes, are
    copied as values; the next forward pass computes them again.

    Raises:
        InvalidInputError: The network holds something that cannot be copied.

    >>> layer = nn.Linear(2, 1)
    >>> parameter_distance(copy_network(layer), layer)
    0.0
    """
    network = unwrapped(model)
    computed = {id(value): value.detach().clone() for module in network.modules() for value in _computed(vars(module))}
    try:
        with torch.inference_mode(False):
            return copy.deepcopy(network, dict(computed))
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise InvalidInputError(
            f"the network {type(network).__name__} cannot be copied ({first_line(error)}); remove what copy.deepcopy "
            "refuses from its attributes, for example an open file, a lock or a generator"
        ) from error


def _computed(value: object) -> Iterator[Tensor]:
    """Yield the tensors with a graph in a nest of dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        if value.grad_fn is not None:
            yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _computed(part)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none.

    >>> first_line(KeyError())
    'KeyError'
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def flatten(params: Parameters) -> Float[Tensor, " p"]:
    """Concatenate parameters, in the order of the dictionary, to one vector of the widest of their types.

    >>> flatten({"a": torch.ones(2, 2), "b": torch.zeros(1)}).shape
    torch.Size([5])
    """
    return torch.cat([value.reshape(-1) for value in params.values()])


def unflatten(vector: Float[Tensor, " p"], like: Parameters) -> Parameters:
    """Split a vector into pieces with the shapes and types of `like`: the inverse of `flatten`.

    A piece of the vector's own type is a view.

    Raises:
        InvalidInputError: The vector does not have one entry for each parameter.

    >>> params = {"a": torch.ones(2, 2), "b": torch.zeros(1)}
    >>> unflatten(flatten(params), params)["a"].shape
    torch.Size([2, 2])
    """
    sizes = [value.numel() for value in like.values()]
    if vector.ndim != 1 or len(vector) != sum(sizes):
        raise InvalidInputError(
            f"vector must have one entry for each of the {sum(sizes)} parameters, got shape {tuple(vector.shape)}; "
            "build it with assay.core.flatten"
        )
    pieces = zip(like.items(), vector.split(sizes), strict=True)
    return {name: piece.view(value.shape).to(value.dtype) for (name, value), piece in pieces}


def assign_parameters(model: nn.Module, vector: Float[Tensor, " p"]) -> None:
    """Write a vector, in the order of `flatten`, into the model's parameters.

    Raises:
        InvalidInputError: The vector does not have one entry for each parameter.

    >>> layer = nn.Linear(2, 1)
    >>> assign_parameters(layer, torch.tensor([1.0, 2.0, 3.0]))
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    params = {name: value.detach() for name, value in _floating_parameters(model)}
    for name, piece in unflatten(vector, params).items():
        params[name].copy_(piece)


def parameter_distance(model: nn.Module, other: nn.Module) -> float:
    r"""Compute the Euclidean distance between all parameters, $\lVert\theta' - \theta\rVert_2$, without buffers.

    >>> layer = nn.Linear(2, 1)
    >>> parameter_distance(layer, layer)
    0.0
    """
    return (flatten(named_parameters(model)) - flatten(named_parameters(other))).norm().item()


def project_parameters(model: nn.Module, centre: nn.Module, radius: float | None) -> None:
    """Project a model's parameters, in place, onto the ball around another model's parameters.

    Args:
        model: Model to project.
        centre: Model at the centre of the ball, of the same architecture.
        radius: Euclidean radius; None does not limit the distance.

    Raises:
        NumericalError: Some parameters are NaN or infinite.

    >>> centre, model = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> project_parameters(model, centre, 0.0)
    >>> parameter_distance(model, centre)
    0.0
    """
    start = flatten(named_parameters(centre))
    change = flatten(named_parameters(model)) - start
    distance = change.norm().item()
    if not torch.isfinite(change).all():
        raise NumericalError("the model's parameters became NaN or infinite; lower the learning rate")
    if radius is not None and distance > radius:
        assign_parameters(model, start + change * (radius / distance))


def functional(model: nn.Module) -> Callable[[Parameters, Tensor], Tensor]:
    """Return the model as a pure function `f(params, x)` with fixed buffers.

    Parameters missing from `params` keep the model's values, so that a single layer can be varied. What a forward pass
    writes into its input or a buffer is gone after it.

    >>> layer = nn.Linear(2, 1)
    >>> f = functional(layer)
    >>> torch.equal(f(named_parameters(layer), torch.ones(1, 2)), layer(torch.ones(1, 2)).detach())
    True
    """
    network = unwrapped(model)
    weights = {name: value.detach() for name, value in network.named_parameters()}
    buffers = {name: value.detach() for name, value in network.named_buffers()}

    def call(params: Parameters, x: Tensor) -> Tensor:
        copies = {name: value.clone() for name, value in buffers.items()}
        return functional_call(network, weights | copies | params, (x.clone(),))

    return call


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Hold the model in evaluation mode with frozen parameters and autograd on, and restore it afterwards.

    Mode flags, `requires_grad`, `.grad`, buffers, and tensors in attributes are restored, also after an exception.
    Inside, backward hooks are off and the caller's `torch.no_grad()` or `torch.inference_mode()` is left. The network
    gets a copy of its inputs, so that it may write into them, and a batch of one keeps its first axis where the network
    squeezes it. To vary weights, use `functional`.

    Raises:
        InvalidInputError: Some parameters are not initialised yet, or on the meta device.

    >>> layer = nn.Linear(2, 1).train()
    >>> with preserved(layer), torch.no_grad():
    ...     layer.training, layer.weight.requires_grad
    (False, False)
    >>> layer.training, layer.weight.requires_grad
    (True, True)
    """
    for name, value in model.named_parameters():
        _require_values(name, value)
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        copies: dict[int, Tensor] = {}
        for module in list(model.modules()):
            stack.callback(_hold(module, copies))
        for parameter in list(model.parameters()):
            stack.callback(_freeze(parameter))
        for root in {model, unwrapped(model)}:
            stack.callback(root.register_forward_pre_hook(_own_input, prepend=True).remove)
            stack.callback(root.register_forward_hook(_keep_row_axis).remove)
        yield


def _hold(module: nn.Module, copies: dict[int, Tensor]) -> Callable[[], None]:
    """Put one module in evaluation mode, with copies of its buffers and without backward hooks; return the way back."""
    attributes, training = vars(module), module.training
    before = dict(attributes)
    # With `max_norm` each forward pass of an embedding rescales the rows that are too long, in place.
    limited = isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None
    rescaled = (
        [(value.detach(), value.detach().clone()) for value in module.parameters(recurse=False)] if limited else []
    )
    tables = [attributes.get(name, {}) for name in ("_buffers", "_backward_hooks", "_backward_pre_hooks")]
    contents = [dict(table) for table in tables]

    def restore() -> None:
        module.training = training
        for weight, value in rescaled:
            weight.copy_(value)
        for table, content in zip(tables, contents, strict=True):
            table.clear()
            table.update(content)
        # A flag that says that a tensor is there goes with the tensor; counts of a module without any stay.
        if any(isinstance(value, Tensor) and before.get(name) is not value for name, value in attributes.items()):
            attributes.clear()
        attributes.update(before if not attributes else {n: v for n, v in before.items() if n not in attributes})

    module.training = False
    for name, value in contents[0].items():
        if value is not None:  # a buffer of several modules stays one tensor
            tables[0][name] = copies.setdefault(id(value), value.detach().clone())
    for hooks in tables[1:]:
        hooks.clear()
    return restore


def _freeze(parameter: nn.Parameter) -> Callable[[], None]:
    """Take the gradient of one parameter off, and remember whether the caller trains it; return the way back."""
    requires_grad, gradient = parameter.requires_grad, parameter.grad
    outermost = id(parameter) not in _flags_before

    def restore() -> None:
        if outermost:
            del _flags_before[id(parameter)]
        _set_flag(parameter, requires_grad)
        parameter.grad = gradient

    if outermost:
        _flags_before[id(parameter)] = requires_grad
    _set_flag(parameter, False)
    parameter.grad = None
    return restore


def _set_flag(parameter: nn.Parameter, requires_grad: bool) -> None:
    with torch.inference_mode(parameter.is_inference()):  # elsewhere an inference tensor keeps its flag
        parameter.requires_grad_(requires_grad)


def _own_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in inputs)


def _keep_row_axis(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> Any:
    """Return the outputs of a batch of one with the first axis that a squeeze took off."""
    single = bool(inputs) and isinstance(inputs[0], Tensor) and inputs[0].ndim > 0 and len(inputs[0]) == 1
    lost = single and isinstance(outputs, Tensor) and (outputs.ndim == 0 or len(outputs) != 1)
    return outputs[None] if lost else outputs
