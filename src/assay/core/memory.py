"""Memory that the graphs of a network's derivatives take."""

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from assay.core.leaves import leaves
from assay.core.parameters import named_parameters, unwrapped

GRAPHS = 2  # a product differentiates the gradient, whose graph holds each activation about twice


def graph_bytes(model: nn.Module, x: Shaped[Tensor, "n *d"]) -> int:
    """Estimate the bytes of the graph of a gradient's derivative: twice the activations that the forward pass saves.

    Args:
        model: Network; it comes back as it was.
        x: Samples.

    Cost: one forward pass.

    >>> import torch
    >>> graph_bytes(nn.Linear(4, 3), torch.zeros(1, 4))
    32
    """
    saved = 0
    with leaves(model, named_parameters(model).keys()) as params:
        weights = {weight.untyped_storage().data_ptr() for weight in params.values()}

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            if tensor.untyped_storage().data_ptr() not in weights:
                saved += tensor.numel() * tensor.element_size()
            return tensor

        with saved_tensors_hooks(count, lambda tensor: tensor):
            unwrapped(model)(x)
    return GRAPHS * saved
