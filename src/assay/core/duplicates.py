"""Copies of samples in another set, compared bit by bit."""

from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b

import torch
from jaxtyping import Shaped
from torch import Tensor


def find_copies(x: Shaped[Tensor, "n *d"], pool: Shaped[Tensor, "m *_"]) -> list[list[int]]:
    """Return for each sample the places of its copies in a pool; none where the pool has another type or shape.

    Cost: time O((n + m) d), memory O(n + m): samples are compared by digests of 16 bytes.

    >>> find_copies(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [3.0], [2.0]]))
    [[], [0, 2]]
    """
    if x.dtype != pool.dtype or x.shape[1:] != pool.shape[1:]:
        return [[] for _ in x]
    places = defaultdict(list)
    for place, content in enumerate(_contents(pool)):
        places[content].append(place)
    return [places[content] for content in _contents(x)]


def _contents(x: Tensor) -> Iterator[bytes]:
    # Bytes of any type, also of those that NumPy does not know.
    flat = x.detach().cpu().reshape(len(x), -1).contiguous().view(torch.uint8)
    return (blake2b(sample, digest_size=16).digest() for sample in flat.numpy())
