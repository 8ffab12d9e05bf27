"""Parameters as named dictionaries and flat vectors, and models restored after use."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from assay.core.errors import NumericalError

Parameters: TypeAlias = dict[str, Tensor]


def named_parameters(model: nn.Module) -> Parameters:
    """Return the model's parameters, detached, by name; a tied parameter appears once.

    >>> list(named_parameters(nn.Linear(2, 1)))
    ['weight', 'bias']
    """
    return {name: value.detach() for name, value in model.named_parameters()}


def flatten(params: Parameters) -> Float[Tensor, " p"]:
    """Concatenate parameters, in the order of the dictionary, to one vector.

    >>> flatten({"a": torch.ones(2, 2), "b": torch.zeros(1)}).shape
    torch.Size([5])
    """
    return torch.cat([value.reshape(-1) for value in params.values()])


def unflatten(vector: Float[Tensor, " p"], like: Parameters) -> Parameters:
    """Split a vector into views with the shapes of `like`: the inverse of `flatten`.

    >>> params = {"a": torch.ones(2, 2), "b": torch.zeros(1)}
    >>> unflatten(flatten(params), params)["a"].shape
    torch.Size([2, 2])
    """
    sizes = [value.numel() for value in like.values()]
    pieces = vector.split(sizes)
    return {name: piece.view(value.shape) for (name, value), piece in zip(like.items(), pieces, strict=True)}


def assign_parameters(model: nn.Module, vector: Float[Tensor, " p"]) -> None:
    """Write a vector, in the order of `flatten`, into the model's parameters.

    >>> layer = nn.Linear(2, 1)
    >>> assign_parameters(layer, torch.tensor([1.0, 2.0, 3.0]))
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    params = named_parameters(model)
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

    Parameters missing from `params` keep the model's values, so that a single layer can be varied.

    >>> layer = nn.Linear(2, 1)
    >>> f = functional(layer)
    >>> torch.equal(f(named_parameters(layer), torch.ones(1, 2)), layer(torch.ones(1, 2)).detach())
    True
    """
    frozen = named_parameters(model) | {name: value.detach() for name, value in model.named_buffers()}

    def call(params: Parameters, x: Tensor) -> Tensor:
        return functional_call(model, frozen | params, (x,))

    return call


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Hold the model in evaluation mode with frozen parameters, and restore it afterwards.

    Mode flags, `requires_grad` and `.grad` are restored, also after an exception. To vary weights, use `functional`.

    >>> layer = nn.Linear(2, 1).train()
    >>> with preserved(layer):
    ...     layer.training, layer.weight.requires_grad
    (False, False)
    >>> layer.training, layer.weight.requires_grad
    (True, True)
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _, _ in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, gradient in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
