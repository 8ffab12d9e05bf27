"""Weights of a subject: state dicts read without running code, and model factories."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assay.core import InvalidInputError, MissingDataError

State = dict[str, Tensor]

_CONVERT = "convert it where it was made, with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"


def load_state(path: Path) -> State:
    """Read a state dict from ``.safetensors``, or from a PyTorch file that loads without running code.

    Raises:
        MissingDataError: There is no such file.
        InvalidInputError: Reading it would run code, or it is damaged, or it holds no named tensors.
    """
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; give the trained weights, preferably as .safetensors")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InvalidInputError(f"{path} is no safetensors file or is damaged ({error}); save it again") from error
    if path.suffix in (".pkl", ".pickle", ".joblib"):
        raise InvalidInputError(f"{path} is a pickle, which can run code when it is read; {_CONVERT}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that needs code, or is damaged, raises errors of many kinds
        raise InvalidInputError(f"{path} is damaged or would run code when it is read; {_CONVERT}") from error
    return _named_tensors(loaded, path)


def _named_tensors(loaded: Any, path: Path) -> State:
    """Return the state dict of a checkpoint, also where the checkpoint holds the optimiser's too."""
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InvalidInputError(f"{path} holds no state dict (names and tensors); {_CONVERT}")
    return state


def call_factory(spec: str) -> nn.Module:
    """Import ``package.module:factory`` and return the model that the factory makes.

    Raises:
        InvalidInputError: It cannot be imported, raises, or returns something else.
    """
    module_name, _, name = spec.partition(":")
    try:
        factory: Callable[[], object] = getattr(importlib.import_module(module_name), name)
        model = factory()
    except Exception as error:  # the user's own code: any failure is an answer to show them
        raise InvalidInputError(
            f"{spec} failed ({type(error).__name__}: {_first_line(error)}); "
            "give package.module:factory, importable from here and callable without arguments"
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidInputError(f"{spec} returned {type(model).__name__}; it must return a torch.nn.Module")
    return model


def load_weights(model: nn.Module, state: State, *, name: str) -> nn.Module:
    """Load weights into a model, in the weights' precision, and set it to eval mode.

    Raises:
        InvalidInputError: Names or shapes differ; the message lists the first of them.
    """
    expected = model.state_dict()
    problems = [f"{key} is missing" for key in expected if key not in state]
    problems += [f"{key} is not in the model" for key in state if key not in expected]
    problems += [
        f"{key} has shape {tuple(state[key].shape)} but the model {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InvalidInputError(
            f"the weights do not fit {name}: {', '.join(problems[:3])}{more}; give the factory they belong to"
        )
    dtype = next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32)
    model.to(dtype).load_state_dict(state)
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no message").splitlines()[0]
