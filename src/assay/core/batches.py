"""Mini-batches of an epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """Return the sizes of an epoch's batches in `fit`; a rest of one sample joins the batch before it.

    One sample has no batch statistics. Any other rest is a smaller batch.

    >>> batch_sizes(7, 3), batch_sizes(8, 3)
    ([3, 4], [3, 3, 2])
    """
    sizes = [batch_size] * (n // batch_size)
    rest = n % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def shuffled_batches(
    x: Tensor, y: Tensor, batch_size: int, total: int, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `total` batches, reshuffled every epoch; all samples in their order where one batch holds them.

    A network may write into a batch: the data stay as they are.
    """
    drawn = 0
    while drawn < total:
        if batch_size >= len(x):
            yield x.clone(), y
            drawn += 1
            continue
        order = torch.randperm(len(x), generator=generator, device=generator.device if generator else None)
        for index in order.to(x.device).split(batch_sizes(len(x), batch_size))[: total - drawn]:
            yield x[index], y[index]
            drawn += 1
