"""Flags of samples, such as their membership in a training set."""

from jaxtyping import Bool, Shaped
from torch import Tensor

from assay.core.errors import InvalidInputError


def check_flags(flags: Shaped[Tensor, "*n"], name: str) -> Bool[Tensor, "*n"]:
    """Require one truth value an entry, booleans or numbers that are 0 and 1, and return them as booleans.

    Integers would be read as places: `x[flags]` repeats the first two samples.

    Raises:
        InvalidInputError: They are no tensor, empty, or hold another number.

    >>> import torch
    >>> check_flags(torch.tensor([1, 0], dtype=torch.uint8), "members").tolist()
    [True, False]
    """
    if not isinstance(flags, Tensor) or flags.numel() == 0 or not ((flags == 0) | (flags == 1)).all():
        got = f"{flags.dtype} of shape {tuple(flags.shape)}" if isinstance(flags, Tensor) else type(flags).__name__
        raise InvalidInputError(
            f"{name} must be a non-empty tensor of booleans, or of 0 and 1, got {got}; flag a set of places by "
            "torch.isin(torch.arange(n), places)"
        )
    return flags.bool()
