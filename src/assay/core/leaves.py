"""A network's own parameters as the leaves of autograd's graphs."""

from collections.abc import Iterator, Set
from contextlib import contextmanager

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from assay.core.derivatives import plain_attention, refusals
from assay.core.errors import InvalidInputError
from assay.core.parameters import Parameters, Selection, functional, named_parameters, preserved, unwrapped
from assay.core.recording import random_state_kept

# Moves of the parameters, in units of their size: outputs that round or saturate may stay as they are under small ones.
_MOVES = (0.3, 1.0, 10.0)


@contextmanager
def leaves(model: nn.Module, params: Selection | Set[str] = "trainable") -> Iterator[Parameters]:
    """Hold the model as `preserved` does, with chosen parameters as leaves, for derivatives by plain autograd.

    Autograd on the parameters themselves follows whatever the network does with them: names that are not registered,
    checkpoints, computed weights. Hooks on them are off. What torch refuses becomes one `InvalidInputError`.

    Args:
        model: Network.
        params: The selection of `named_parameters`, or the names themselves.

    >>> import torch
    >>> layer = nn.Linear(2, 1).requires_grad_(False)
    >>> with leaves(layer, "all") as params:
    ...     torch.autograd.grad(layer(torch.ones(1, 2)).sum(), list(params.values()))[0].tolist()
    [[1.0, 1.0]]
    >>> layer.weight.requires_grad
    False
    """
    with preserved(model), plain_attention(), refusals():
        own = dict(unwrapped(model).named_parameters())
        names = params if isinstance(params, Set) else named_parameters(model, params=params)
        chosen: Parameters = {name: own[name] for name in names}
        hooks = {name: value._backward_hooks for name, value in chosen.items()}
        try:
            for name, value in chosen.items():
                if value.is_inference():
                    raise InvalidInputError(
                        f"parameter {name} of the model was made in inference mode and has no derivative; build or "
                        "load the model outside torch.inference_mode()"
                    )
                value._backward_hooks = None
                value.requires_grad_()
            yield chosen
        finally:
            for name, value in chosen.items():
                value._backward_hooks = hooks[name]


def check_reached(outputs: Tensor) -> None:
    """Require outputs that autograd traces to the parameters held by `leaves`.

    Raises:
        InvalidInputError: It does not.
    """
    if not outputs.requires_grad:
        raise InvalidInputError(
            "autograd finds no way from the model's outputs to the parameters asked for; remove "
            "torch.no_grad(), .detach(), .data and comparisons from its forward, or pass params='all' for frozen ones"
        )


def check_follows_parameters(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> None:
    """Require a network whose outputs move when its parameters are replaced, as no weight kept from before does.

    All parameters are moved together, and those of each module that keeps tensors in its attributes alone.

    Args:
        model: Network that `check_outputs` has looked at; it comes back as it was.
        x: Samples, of which three are used.

    Raises:
        InvalidInputError: The outputs stay as they are.

    Cost: two forward passes of at most three rows, one more for each module that keeps tensors.

    >>> check_follows_parameters(nn.Linear(2, 1), torch.ones(1, 2))
    """
    params, x = named_parameters(model), x[:3].detach()
    with random_state_kept(x.device):
        before = _outputs_at(model, params, x)
        if not before.any():  # as at inputs of zeros without a bias
            return
        for place, names in (("", list(params)), *_keepers(model, params)):
            if all(_stays(before, model, _moved(params, names, move), x) for move in _MOVES):
                what = f"those of its module {place}" if place else "its parameters"
                raise InvalidInputError(
                    f"the model's outputs stay as they are when {what} move, as where a weight that is computed from "
                    "parameters is kept for later calls; compute it in forward at each call, or clear it and pass the "
                    "model without it"
                )


def _outputs_at(model: nn.Module, params: Parameters, x: Tensor) -> Tensor:
    with preserved(model), torch.no_grad():
        return functional(model)(params, x)


def _stays(before: Tensor, model: nn.Module, params: Parameters, x: Tensor) -> bool:
    try:
        return torch.equal(_outputs_at(model, params, x), before)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever a network raises at these parameters, it has read them
        return False


def _moved(params: Parameters, names: list[str], size: float) -> Parameters:
    """Return the parameters with those of the names moved at random, relative to their root mean square."""
    source = torch.Generator().manual_seed(0)
    moved = dict(params)
    for name in names:
        value = params[name].double()
        scale = size * (value.square().mean().sqrt() if value.any() else 1.0)
        noise = torch.randn(value.shape, generator=source, dtype=torch.float64).to(value.device)
        moved[name] = (value + scale * noise).to(params[name].dtype)
    return moved


def _keepers(model: nn.Module, params: Parameters) -> Iterator[tuple[str, list[str]]]:
    """Yield the modules that keep tensors outside parameters and buffers, with the parameters to move."""
    for place, module in unwrapped(model).named_modules():
        attributes = [value for name, value in vars(module).items() if name not in ("_parameters", "_buffers")]
        if any(_keeps_tensors(value) for value in attributes):
            prefix = f"{place}." if place else ""
            own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
            below = [name for name in params if name.startswith(prefix)]
            names = [name for name in own if name in params] or below
            if names:
                yield place or type(module).__name__, names


def _keeps_tensors(value: object) -> bool:
    if isinstance(value, (dict, list, tuple)):
        return any(map(_keeps_tensors, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
