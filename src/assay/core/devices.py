"""Torch devices by name."""

import torch

from assay.core.errors import InvalidInputError


def find_device(name: str) -> torch.device:
    """Return a torch device that this machine has.

    Args:
        name: E.g. ``"cpu"`` or ``"cuda"``.

    Returns:
        The device.

    Raises:
        InvalidInputError: No such device here.

    >>> find_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        raise InvalidInputError(
            f"the device {name!r} cannot be used here; leave out --device, or give --device cpu."
        ) from error
    return device
