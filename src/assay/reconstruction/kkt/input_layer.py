"""Input layer of a network: its first layer with parameters, whose inputs are the coordinates of reconstructions."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from assay.core import InvalidInputError, check_outputs, check_samples, preserved, seeded, unwrapped


def first_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """Return the name and the module of the first layer with parameters.

    Raises:
        InvalidInputError: The network has no parameters.

    >>> first_layer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))[0]
    '1'
    """
    for name, module in _with_parameters(model):
        return name, module
    raise InvalidInputError("the network has no layer with parameters; pass a trained network")


def _with_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers with parameters of their own; a parametrised layer counts as one."""
    computed = {part for module in model.modules() if is_parametrized(module) for part in _parametrizations(module)}
    for name, module in model.named_modules():
        own = next(module.parameters(recurse=False), None) is not None or is_parametrized(module)
        if own and module not in computed:
            yield name, module


def _parametrizations(module: nn.Module) -> Iterator[nn.Module]:
    return module.get_submodule("parametrizations").modules()


def first_dense_layer(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of the first layer with parameters, which must be dense.

    Raises:
        InvalidInputError: The layer is not an `nn.Linear`.
    """
    name, layer = first_layer(model)
    if isinstance(layer, nn.Linear):
        return name, layer
    raise InvalidInputError(
        f"the first layer with parameters is {type(layer).__name__}, but the span of the data is estimated from a "
        "dense first layer (nn.Linear); pass subspace=None or 'auto', and input_shape=(...), to search in input space"
    )


def first_layer_inputs(model: nn.Module, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return the inputs of a network's first layer with parameters: samples after any fixed normalisation.

    Reconstructions are in these coordinates: score them against these rather than against the samples.

    Args:
        model: Network; it comes back as it was.
        x: Its inputs.

    Raises:
        InvalidInputError: The network does not run on the inputs, or runs another layer with parameters first, or its
            first one several times.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> first_layer_inputs(net, torch.ones(3, 2, 2)).shape
    torch.Size([3, 4])
    """
    check_samples(x)
    model = unwrapped(model)
    name, first = first_layer(model)
    calls: list[tuple[nn.Module, Tensor]] = []
    handles = [
        module.register_forward_pre_hook(lambda called, given: calls.append((called, given[0])))
        for _, module in _with_parameters(model)
    ]
    try:
        with preserved(model), torch.no_grad():
            model(x)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"the network does not run on inputs of shape {tuple(x.shape[1:])} ({reason}); pass input_shape=(...)"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if sum(called is first for called, _ in calls) > 1:
        raise InvalidInputError(
            f"the network runs its first layer {name!r} several times, so that an input of that layer is not its "
            "only one; give each call a layer of its own"
        )
    if not calls or calls[0][0] is not first:
        raise InvalidInputError(
            f"the network holds {name!r} first but runs another layer first; define its layers in the order of use"
        )
    return calls[0][1]


def from_first_layer(model: nn.Module, shape: tuple[int, ...] | None) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network from its input layer on, and the shape of that layer's inputs.

    A subtracted mean image, a scaling of channels or a flattening has no weights, so it leaves no trace in them:
    samples are found as inputs of the first layer. A network that is equivalent to a chain of its dense layers with
    ReLU between them is returned as that chain.

    Args:
        model: Network in evaluation mode, its parameters frozen.
        shape: Shape of one input; when None, the flat shape of a dense first layer.

    Raises:
        InvalidInputError: The network does not run on such inputs, or uses them outside its first layer.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> chain, shape = from_first_layer(net, (2, 2))
    >>> len(chain), shape
    (3, (4,))
    """
    first = first_layer(model)[1]
    like = next(model.parameters())
    flat = (first.in_features,) if isinstance(first, nn.Linear) else None
    if shape is None and flat is None:
        raise InvalidInputError(
            f"the first layer with parameters is {type(first).__name__}, so the shape of an input does not follow from "
            "the weights; pass input_shape=(channels, height, width)"
        )
    if shape is not None and flat is not None and torch.Size(shape).numel() == flat[0] and not _runs(model, shape):
        shape = None  # a dense network without nn.Flatten in front reads images flat
    given = shape or flat or ()
    read = first_layer_inputs(model, like.new_zeros(2, *given))
    check_outputs(model, torch.rand(2, *given, generator=seeded(0)).to(like))
    inside = _FromFirstLayer(model, given)
    coordinates = torch.randn(16, *read.shape[1:], generator=seeded(0)).to(like)
    with torch.no_grad():
        expected = inside(coordinates).reshape(16, -1)
        elsewhere = inside(coordinates, filled=1.0).reshape(16, -1)
        if not torch.equal(expected, elsewhere):
            raise InvalidInputError(
                "the network uses its input outside its first layer as well; "
                "pass a network whose first layer alone reads the input"
            )
        chain = dense_chain(model)
        if chain is None or not _close(chain(coordinates), expected):
            return inside, tuple(read.shape[1:])
    return chain, tuple(read.shape[1:])


def dense_chain(model: nn.Module) -> nn.Sequential | None:
    """Return the chain of a network's dense layers with ReLU between them, or None for other networks.

    >>> len(dense_chain(nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
    3
    """
    layers = [module for _, module in _with_parameters(model)]
    if len(layers) < 2 or not all(isinstance(layer, nn.Linear) for layer in layers):
        return None
    if sum(1 for layer in layers for _ in layer.parameters()) > sum(1 for _ in model.parameters()):
        return None  # tied weights have one gradient
    if any(one.out_features != other.in_features for one, other in pairwise(layers)):
        return None
    between = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(*between[:-1])


def dense_head(model: nn.Module, x: Float[Tensor, "n ..."]) -> tuple[nn.Sequential, Float[Tensor, "n d"]]:
    r"""Return the dense head of a network as a network, and the head's input features of samples.

    Stationarity holds for every part of the weights separately: those of the head are a weighted sum of the head's
    gradients at the features of the training samples, for any feature extractor.

    Args:
        model: Network that ends with `nn.Linear` layers, at least two, with ReLU between them; it comes back as it was.
        x: Its inputs.

    Raises:
        InvalidInputError: The network is not of that form.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> head, features = dense_head(net, torch.ones(5, 1, 4, 4))
    >>> len(head), features.shape
    (3, torch.Size([5, 8]))
    """
    model, x = unwrapped(model), check_samples(x)
    check_outputs(model, x)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    chain = dense_chain(nn.ModuleList(layers))
    if chain is None:
        raise InvalidInputError(
            "the network does not end with two or more nn.Linear layers, each fed by the one before; "
            "pass a network with such a head"
        )
    read: list[Tensor] = []
    handle = layers[0].register_forward_pre_hook(lambda _, given: read.append(given[0]))
    try:
        with preserved(model), torch.no_grad():
            outputs = model(x).reshape(len(x), -1)
            features = torch.cat(read)
            fits = features.shape == (len(x), layers[0].in_features) and _close(chain(features), outputs)
    finally:
        handle.remove()
    if not fits:
        raise InvalidInputError(
            "the network computes more after its first nn.Linear than dense layers with ReLU between them; "
            "pass a network that ends with a plain dense head"
        )
    return chain, features


def _runs(model: nn.Module, shape: tuple[int, ...]) -> bool:
    try:
        first_layer_inputs(model, next(model.parameters()).new_zeros(2, *shape))
    except InvalidInputError:
        return False
    return True


def _close(outputs: Tensor, expected: Tensor) -> bool:
    """Tell whether two networks' outputs differ by rounding only."""
    if outputs.shape != expected.shape:
        return False
    return bool((outputs - expected).abs().max() <= 1e-4 * expected.abs().max())


class _FromFirstLayer(nn.Module):
    """Run a network with the input of its first layer given directly."""

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.shape = shape

    def forward(self, given: Tensor, filled: float = 0.0) -> Tensor:
        first = first_layer(self.model)[1]
        handle = first.register_forward_pre_hook(lambda *_: (given,))
        try:
            return self.model(given.new_full((len(given), *self.shape), filled))
        finally:
            handle.remove()
