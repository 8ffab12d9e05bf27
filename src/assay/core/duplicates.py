"""Copies of samples in another set, compared bit by bit."""

from collections import defaultdict

import torch
from jaxtyping import Shaped
from torch import Tensor


def find_copies(x: Shaped[Tensor, "n *d"], pool: Shaped[Tensor, "m *_"]) -> list[list[int]]:
    """Return for each sample the places of its copies in a pool; none where the pool has another type or shape.

    Cost: time and memory O((n + m) d).

    >>> find_copies(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [3.0], [2.0]]))
    [[], [0, 2]]
    """
    if x.dtype != pool.dtype or x.shape[1:] != pool.shape[1:]:
        return [[] for _ in x]
    places = defaultdict(list)
    for place, content in enumerate(_contents(pool)):
        places[content].append(place)
    return [places[content] for content in _contents(x)]


def _contents(x: Tensor) -> list[bytes]:
    # Bytes of any type, also of those that NumPy does not know.
    flat = x.detach().cpu().reshape(len(x), -1).contiguous().view(torch.uint8)
    return [sample.tobytes() for sample in flat.numpy()]
