"""Weights of a subject: model factories, and state dicts loaded into their models."""

import importlib
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from assay.audit.checkpoints import load_state
from assay.audit.matching import match_state, precision
from assay.core import InvalidInputError

__all__ = ["call_factory", "load_state", "load_weights", "match_state"]


def call_factory(spec: str) -> nn.Module:
    """Import ``package.module:factory`` and return the model that the factory makes.

    Raises:
        InvalidInputError: It cannot be imported, raises, or returns something else.
    """
    module_name, _, name = spec.partition(":")
    try:
        factory: Callable[[], object] = getattr(importlib.import_module(module_name), name)
        model = factory()
    except (Exception, SystemExit) as error:  # the user's own code: any failure is an answer to show them
        raise InvalidInputError(
            f"{spec} failed ({type(error).__name__}: {_first_line(error)}); "
            "give package.module:factory, importable from here and callable without arguments"
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidInputError(f"{spec} returned {type(model).__name__}; it must return a torch.nn.Module")
    return model


def load_weights(model: nn.Module, state: Mapping[str, Tensor], *, name: str) -> nn.Module:
    """Load weights into a model, under its names (see `match_state`), and set it to evaluation mode.

    The model takes the precision of the weights, and at least float32 unless it is made in half precision itself.

    Raises:
        InvalidInputError: Names, shapes or types differ; the message lists the first layers that do.
    """
    matched, expected = match_state(model, state, name=name), model.state_dict()
    dtype = precision(expected, matched)
    if dtype is not None:
        model.to(dtype)
    try:
        model.load_state_dict(matched, assign=any(value.is_meta for value in expected.values()))
    except RuntimeError as error:
        raise InvalidInputError(f"{name} refuses the weights ({_first_line(error)}); give its own weights") from error
    return model.eval()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]
