"""Broadcasting of one number a sample."""

from jaxtyping import Shaped
from torch import Tensor


def per_sample(values: Shaped[Tensor, " n"], like: Shaped[Tensor, "n *d"]) -> Shaped[Tensor, "n *ones"]:
    """Return one value a sample, shaped to broadcast over all entries of the sample.

    Args:
        values: One number or flag for each sample.
        like: Samples, of which only the number of axes counts.

    Returns:
        A view of the values with axes of length one behind the first, as many axes as the samples have.

    >>> import torch
    >>> (per_sample(torch.tensor([1.0, 2.0]), torch.ones(2, 1, 3)) * torch.ones(2, 1, 3)).tolist()
    [[[1.0, 1.0, 1.0]], [[2.0, 2.0, 2.0]]]
    """
    return values.view(-1, *[1] * (like.ndim - 1))
