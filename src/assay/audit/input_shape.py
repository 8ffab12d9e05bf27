"""Shape of a network's inputs where there are no data: what a dense first layer suggests, and inputs to try it on."""

import math

import torch
from torch import Tensor, nn

from assay.audit.subject_checks import complaints
from assay.core import check_logits, seeded


def dense_input_shape(model: nn.Module) -> tuple[int, ...] | None:
    """Infer the input shape from a dense first layer, a square image where the width is a square number.

    None where the first layer is not dense, or the network does not accept such an input.
    """
    shape = dense_shape(model)
    return None if shape is None or list(complaints(check_logits, model, trial_inputs(model, shape))) else shape


def dense_shape(model: nn.Module) -> tuple[int, ...] | None:
    """Return the input shape that a dense first layer suggests."""
    first = next((m for m in model.modules() if getattr(m, "weight", None) is not None), None)
    if not isinstance(first, nn.Linear):
        return None
    flattens = any(isinstance(module, nn.Flatten) for module in model.modules())
    side = math.isqrt(first.in_features)
    return (1, side, side) if flattens and side * side == first.in_features else (first.in_features,)


def trial_inputs(model: nn.Module, shape: tuple[int, ...] | None) -> Tensor | None:
    """Return a few random inputs of a shape, None where it is unknown."""
    return None if shape is None else torch.rand(3, *shape, generator=seeded(0)).to(next(model.parameters()))
