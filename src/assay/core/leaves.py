"""A network's own parameters as the leaves of autograd's graphs."""

from collections.abc import Iterator, Set
from contextlib import contextmanager

from torch import Tensor, nn

from assay.core.derivatives import plain_attention, refusals
from assay.core.errors import InvalidInputError
from assay.core.parameters import Parameters, Selection, named_parameters, preserved, unwrapped


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
            "autograd finds no way from the model's outputs to the parameters that it was asked for; remove "
            "torch.no_grad(), .detach() and .data from the forward pass, or pass params='all' if those are frozen"
        )
