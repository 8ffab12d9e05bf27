"""A network's own parameters as the leaves of autograd's graphs."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from assay.core.derivatives import plain_attention, refusals
from assay.core.errors import InvalidInputError
from assay.core.parameters import Parameters, Selection, named_parameters, preserved, unwrapped


@contextmanager
def leaves(model: nn.Module, params: Selection = "trainable") -> Iterator[Parameters]:
    """Hold the model as `preserved` does, with the chosen parameters as leaves, for derivatives by plain autograd.

    Autograd on the parameters themselves follows whatever the network does with them: names that are not registered,
    checkpoints, computed weights. Hooks on them are off. What torch refuses becomes one `InvalidInputError`.

    >>> layer = nn.Linear(2, 1).requires_grad_(False)
    >>> with leaves(layer, "all") as params:
    ...     torch.autograd.grad(layer(torch.ones(1, 2)).sum(), list(params.values()))[0].tolist()
    [[1.0, 1.0]]
    >>> layer.weight.requires_grad
    False
    """
    with preserved(model), plain_attention(), refusals():
        own = dict(unwrapped(model).named_parameters())
        chosen: Parameters = {name: own[name] for name in named_parameters(model, params=params)}
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
