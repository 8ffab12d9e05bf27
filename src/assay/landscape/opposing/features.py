"""Inputs of a network's last layer, the penultimate features of samples."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from assay.core import check_outputs, check_samples, preserved, unwrapped


@torch.inference_mode(False)
def last_layer_inputs(model: nn.Module, x: Shaped[Tensor, "n *d"], *, batch_size: int = 256) -> Float[Tensor, "n h"]:
    """Return what the last layer with weights reads of each sample, flat.

    The last layer is the module without submodules that the network calls last and that has weights. Where no such
    module reads one floating-point row a sample, as in a network that computes with its weights itself, the outputs
    stand for the features.

    Args:
        model: Network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        batch_size: Samples evaluated at once.

    Returns:
        One row a sample.

    Raises:
        InvalidInputError: The model or `x` are unusable.

    Cost: one pass over the data, memory O(n h).

    >>> last_layer_inputs(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), torch.tensor([[1.0, -1.0]])).tolist()
    [[1.0, 0.0]]
    """
    x = check_samples(x, tokens=True)
    check_outputs(model, x)
    found = [_read(model, batch) for batch in x.split(batch_size)]
    return torch.cat(found)


def _read(model: nn.Module, batch: Tensor) -> Tensor:
    """Return the features of one batch."""
    called: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[object, ...]) -> None:
        value = inputs[0] if inputs else None
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim and len(value) == len(batch):
            called[:] = [value.detach().clone()]  # the network may write into it later

    with preserved(model), torch.no_grad():
        handles = [
            module.register_forward_pre_hook(note)
            for name, module in unwrapped(model).named_modules()
            if _is_layer(name, module)
        ]
        try:
            outputs = model(batch)
        finally:
            for handle in handles:
                handle.remove()
    features = called[0] if called else outputs
    return features.reshape(len(batch), -1)


def _is_layer(name: str, module: nn.Module) -> bool:
    if "parametrizations" in name.split("."):
        return False
    leaf = is_parametrized(module) or not list(module.children())
    return leaf and any(True for _ in module.parameters())
