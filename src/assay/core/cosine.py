"""Cosine distance of vectors."""

from jaxtyping import Float
from torch import Tensor


def cosine_distance(a: Float[Tensor, "*n d"], b: Float[Tensor, "*m d"], *, floor: float) -> Float[Tensor, "..."]:
    r"""Return $1 - \langle a, b\rangle / (\lVert a\rVert\,\lVert b\rVert + \text{floor})$ over the last axis.

    Where one of the vectors is zero the distance is 1, with a finite slope.

    Args:
        a: Vectors.
        b: Vectors, whose other axes broadcast against those of `a`.
        floor: A small positive number, in the units of the product; it makes vectors that are much smaller orthogonal.

    >>> import torch
    >>> cosine_distance(torch.eye(2), torch.tensor([3.0, 0.0]), floor=1e-6).round(decimals=3)
    tensor([0., 1.])
    """
    return 1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + floor)
