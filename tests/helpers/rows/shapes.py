"""Arguments of formulas and modules: in another type, cut by rows, and of wrong shapes."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Inputs = tuple[Any, ...]
N = 6


def mapped(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Return arguments with every tensor changed, also those in dictionaries and lists."""
    return tuple(_mapped(value, change) for value in inputs)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(inner, change) for inner in value)
    return value


def as_type(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """Return arguments with their floating-point tensors in another type."""
    return mapped(inputs, lambda value: value.to(dtype) if value.is_floating_point() else value.clone())


def some_rows(inputs: Inputs, rows: slice) -> Inputs:
    """Return arguments with some rows only of every tensor that has `N`."""
    return mapped(inputs, lambda value: value[rows] if value.ndim and len(value) == N else value)


def tensors(inputs: Inputs) -> list[Tensor]:
    """Return the tensors among arguments."""
    found: list[Tensor] = []
    mapped(inputs, lambda value: found.append(value) or value)
    return found


def wrong(inputs: Inputs, what: str) -> Iterator[Inputs]:
    """Yield arguments that are wrong in one way; see `REFUSED` in `base`."""
    places = [k for k, value in enumerate(inputs) if isinstance(value, Tensor) and value.ndim and len(value) == N]
    if what == "empty" and any(value.ndim and len(value) == N for value in tensors(inputs)):
        yield some_rows(inputs, slice(0))
    for place in places if what == "axis" or (what == "rows" and len(places) > 1) else []:
        value = inputs[place]
        yield (*inputs[:place], value[:1] if what == "rows" else value[None], *inputs[place + 1 :])


def refused(call: Callable[[], Any]) -> bool:
    """Tell whether a call is an error, in our words or in torch's, or answers no rows with no rows."""
    try:
        answer = call()
    except (ValueError, TypeError, RuntimeError, IndexError, ArithmeticError):
        return True
    found = tensors((answer,))
    return bool(found) and all(value.numel() == 0 for value in found)
