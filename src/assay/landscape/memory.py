"""Batch size that keeps products with a network's curvature within a bound of memory."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from assay.core import named_parameters
from assay.core.leaves import leaves
from assay.core.parameters import unwrapped

BYTES = 2**30
GRAPHS = 2  # a product differentiates the gradient, whose graph holds each activation about twice


def affordable_batch(model: nn.Module, x: Shaped[Tensor, "n *d"], *, columns: int, limit: int = BYTES) -> int:
    """Return how many samples to differentiate at once, with so many columns, so that activations stay within a limit.

    Args:
        model: Network; it comes back as it was.
        x: Samples.
        columns: Columns of the product, each with tensors of its own.
        limit: Bytes.

    Cost: one forward pass of one sample.

    >>> affordable_batch(nn.Linear(4, 3), torch.zeros(10, 4), columns=10)
    10
    """
    saved = 0
    names = named_parameters(model).keys()
    with leaves(model, names) as params:
        weights = {weight.untyped_storage().data_ptr() for weight in params.values()}

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            if tensor.untyped_storage().data_ptr() not in weights:
                saved += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            unwrapped(model)(x[:1])
    return max(1, min(len(x), limit // max(GRAPHS * (1 + columns) * saved, 1)))
