"""Kernels of networks, and distances between kernels."""

from jaxtyping import Float
from torch import Tensor

from assay.core.errors import InvalidInputError


def kernel_distance(k1: Float[Tensor, "n n"], k2: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    r"""Return $1 - \langle K_1, K_2\rangle_F / (\lVert K_1\rVert_F \lVert K_2\rVert_F)$, 0 to 1 for kernels.

    Raises:
        InvalidInputError: The matrices have different shapes, or one is zero, so that it has no direction.

    Source: Fort et al., "Deep learning versus kernel learning" (2020), main text: the kernel distance.

    >>> import torch
    >>> kernel_distance(torch.eye(2), 3 * torch.eye(2)).item() < 1e-6
    True
    """
    if k1.shape != k2.shape:
        raise InvalidInputError(
            f"kernels of shapes {tuple(k1.shape)} and {tuple(k2.shape)} cannot be compared; probe both with the same "
            "samples"
        )
    norms = k1.norm() * k2.norm()
    if not norms > 0:
        raise InvalidInputError("a kernel of zeros has no direction; probe with samples that the network responds to")
    return (1 - (k1 * k2).sum() / norms).clamp(min=0)
