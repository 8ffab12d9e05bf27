"""Outputs that are a dict, a tuple or a structure with fields: the tensor of scores in them."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from assay.core import InvalidInputError, LogProbabilities, preserved
from assay.core.problems import output_parts, rows_among

Selector: TypeAlias = str | int | Callable[[Any], Tensor]
_OBVIOUS = ("['logits']", ".logits")


class OutputSelection(nn.Module):
    """A network followed by the selection of one tensor of what it returns.

    Args:
        model: The network.
        select: Takes what the network returns to one tensor.
    """

    def __init__(self, model: nn.Module, select: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.select = model, select
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the selected tensor."""
        return self.select(self.model(x))


def select_outputs(model: nn.Module, x: Tensor | None, selector: Selector | None) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a network whose output is one tensor, and a note where it is one of several.

    Without a selector, the field ``logits`` is taken, or the only floating-point tensor with a row for each sample.

    Args:
        model: The network.
        x: A few samples; None where there are none, and then only a function selects.
        selector: Key, name or place of the tensor in what the network returns, or a function of it.

    Raises:
        InvalidInputError: Nothing tells which tensor is meant, or it is not there.
    """
    if callable(selector):
        return OutputSelection(model, selector), ("the outputs are selected by the function that outputs= gives",)
    if x is None:
        if selector is not None:
            raise InvalidInputError(f"outputs={selector!r} needs samples to be found in; give data or input_shape")
        return model, ()
    try:
        with preserved(model), torch.no_grad():
            answer = model(x)
    except Exception:  # what the network does not accept is named by the look
        return model, ()
    if isinstance(answer, Tensor):
        if selector is not None:
            raise InvalidInputError(f"outputs={selector!r}, but the model returns one tensor; leave out outputs")
        return model, ()
    place = _obvious(answer, len(x)) if selector is None else _named(answer, selector)
    selected = OutputSelection(model, partial(_part, place=place))
    return selected, (f"the model returns {_described(answer)}; its {place.strip('[].')} is taken as the outputs",)


def with_logarithm(model: nn.Module) -> nn.Module:
    """Return a network of probabilities followed by their logarithm; its modules keep their modes."""
    scored = nn.Sequential(model, LogProbabilities())
    for module in (scored, scored[1]):
        module.training = False
    return scored


def _part(outputs: object, place: str) -> Any:
    return output_parts(outputs)[place]


def _obvious(outputs: object, n: int) -> str:
    """Return the place of the logits, or of the only tensor with a row for each sample."""
    rows = rows_among(outputs, n)
    places = [place for place in _OBVIOUS if place in rows] or list(rows)
    if len(places) == 1:
        return places[0]
    if places:
        example = places[0].strip("[].")
        python, command = example if places[0].startswith("[") else repr(example), example.strip("'")
        mend = f"name the scores, as Subject(outputs={python}), or --outputs {command} beside a factory"
    else:
        mend = "give a function that takes the scores from it, as Subject(outputs=lambda outputs: ...)"
    raise InvalidInputError(f"the model returns {_described(outputs)} in place of one tensor; {mend}")


def _named(outputs: object, key: str | int) -> str:
    parts = output_parts(outputs)
    if isinstance(key, int) and -len(parts) <= key < len(parts) and f"[{key!r}]" not in parts:
        return list(parts)[key]
    for place in (f"[{key!r}]", f".{key}"):
        if place in parts:
            return place
    raise InvalidInputError(f"outputs={key!r} is not in what the model returns, {_described(outputs)}; name one of it")


def _described(outputs: object) -> str:
    parts = ", ".join(place.strip("[].") for place in output_parts(outputs))
    return f"a {type(outputs).__name__} (of {parts or 'nothing'})"
