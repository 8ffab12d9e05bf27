"""Memory that the graphs of a network's derivatives take."""

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from assay.core.leaves import leaves
from assay.core.parameters import named_parameters, unwrapped

BYTES = 2**30
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


def affordable_batch(model: nn.Module, x: Shaped[Tensor, "n *d"], *, columns: int, limit: int = BYTES) -> int:
    """Return how many samples to differentiate at once, with so many columns, so that activations stay within a limit.

    Args:
        model: Network; it comes back as it was.
        x: Samples.
        columns: Columns of the product, each with tensors of its own.
        limit: Bytes.

    Cost: one forward pass of one sample.

    >>> import torch
    >>> affordable_batch(nn.Linear(4, 3), torch.zeros(10, 4), columns=10)
    10
    """
    return max(1, min(len(x), limit // max((1 + columns) * graph_bytes(model, x[:1]), 1)))
