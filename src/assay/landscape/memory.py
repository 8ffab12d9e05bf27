"""Batch size that keeps products with a network's curvature within a bound of memory."""

from jaxtyping import Shaped
from torch import Tensor, nn

from assay.core import graph_bytes

BYTES = 2**30


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
