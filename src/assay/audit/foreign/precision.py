"""Networks in half precision, computed with in a wider type."""

from functools import reduce

import torch
from torch import Tensor, nn

from assay.core import AssayError, copy_network, preserved


def widened(model: nn.Module, x: Tensor | None) -> nn.Module | None:
    """Return a copy of a network in half precision with its weights in float32, which holds them exactly.

    In half precision, gradients vanish and small steps of an input are rounded away.

    Args:
        model: The network.
        x: A few samples; None where there are none.

    Returns:
        The copy; None where no weight is in half precision, or the network holds to its type.
    """
    types = {value.dtype for value in model.parameters() if value.is_floating_point()}
    if not any(dtype.itemsize < 4 for dtype in types):
        return None
    try:
        dtype = reduce(torch.promote_types, types, torch.float32)
        wide = copy_network(model).to(dtype)
        if x is not None:
            with preserved(wide), torch.no_grad():
                wide(x.to(dtype) if x.is_floating_point() else x)
    except (AssayError, RuntimeError):  # what it does not accept is named by the look
        return None
    return wide
