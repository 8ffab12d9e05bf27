"""Atomic files and stored values: tensors as safetensors, the rest as JSON, nothing pickled."""

import json
import math
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from assay.core import InvalidInputError, write_bytes

Value = Any
"""What `encode` takes: tensors, numbers, strings, None, and lists and dicts of these."""

_REST = "value"
"""The entry of a safetensors file's metadata that holds all but the tensors, as JSON."""


class Encoded(NamedTuple):
    """A value as bytes, with the suffix of the file that holds it."""

    suffix: str
    content: bytes


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: sorted keys, one item a line, strictly finite numbers.

    Args:
        path: The file.
        value: A JSON value.
    """
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        Its value.

    Raises:
        InvalidInputError: The file is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidInputError(f"{path} is not a JSON file ({error}); delete it or write it again.") from error


def encode(value: Value) -> Encoded:
    """Turn a value into bytes: safetensors where it holds tensors, with the rest as JSON in their metadata, else JSON.

    Args:
        value: None, booleans, finite numbers, strings, tensors, NumPy arrays and scalars, and lists, tuples and dicts
            (with string keys) of these at any depth. Tuples become lists, arrays tensors, scalars numbers.

    Returns:
        The suffix and the content of the file that holds it.

    Raises:
        InvalidInputError: The value holds anything else, or a number that is not finite.

    >>> decode(encode({"recall": (0.5, 1), "weights": torch.zeros(2)}))
    {'recall': [0.5, 1], 'weights': tensor([0., 0.])}
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_split(value, (), tensors), allow_nan=False)
    if not tensors:
        return Encoded(".json", text.encode())
    return Encoded(".safetensors", save_tensors(tensors, {_REST: text}))


def plain(value: Any) -> Any:
    """Return a value without tensors in the form in which it is read back: tuples as lists.

    Args:
        value: What `encode` takes, without tensors and arrays.

    Returns:
        Its copy, of JSON values.

    Raises:
        InvalidInputError: It holds anything else.

    >>> plain({"widths": (4, 8)})
    {'widths': [4, 8]}
    """
    tensors: dict[str, Tensor] = {}
    copy = _split(value, (), tensors)
    if tensors:
        raise InvalidInputError(f"a tensor or array lies at {', '.join(tensors)}; give plain numbers (.tolist()).")
    return copy


def decode(encoded: Encoded) -> Value:
    """Return the value that `encode` was given, tensors on the CPU.

    Args:
        encoded: A file's suffix and content.

    Returns:
        The value.

    Raises:
        InvalidInputError: The content is corrupt.
    """
    try:
        if encoded.suffix == ".json":
            return json.loads(encoded.content)
        tensors = load_tensors(encoded.content)
        header = json.loads(encoded.content[8 : 8 + int.from_bytes(encoded.content[:8], "little")])
        value = json.loads(header["__metadata__"][_REST])
        for name, tensor in tensors.items():
            path = json.loads(name)
            if not path:
                return tensor
            place = reduce(getitem, path[:-1], value)
            if place[path[-1]] is not None:
                raise KeyError(name)
            place[path[-1]] = tensor
    except (ValueError, LookupError, TypeError, SafetensorError) as error:
        raise InvalidInputError(f"a stored value is corrupt: {error}") from error
    return value


def _split(value: Any, path: tuple[str | int, ...], tensors: dict[str, Tensor]) -> Any:
    """Return a value's JSON part, None in the place of each tensor; `tensors` takes these by their paths as JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_split(entry, (*path, index), tensors) for index, entry in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InvalidInputError(f"{_words(path)} has the key {key!r}; string keys only are kept: use str().")
        return {str(key): _split(entry, (*path, key), tensors) for key, entry in value.items()}
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidInputError(
            f"{_words(path)} is a masked array, whose mask is not kept; fill or drop what is masked."
        )
    if isinstance(value, Tensor | np.ndarray):
        tensors[json.dumps(path)] = _contiguous(value, path)
        return None
    if type(value) is float and not math.isfinite(value):
        raise InvalidInputError(f"{_words(path)} is {value}; a stored number must be finite (None says absent).")
    if value is not None and type(value) not in (bool, int, float, str):
        raise InvalidInputError(
            f"{_words(path)} is a {type(value).__name__}; store tensors, arrays, numbers, strings, and lists and dicts "
            "of these."
        )
    return value


def _contiguous(value: Tensor | np.ndarray, path: tuple[str | int, ...]) -> Tensor:
    try:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
        # One copy each: safetensors takes neither shared storage nor strides.
        copy = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        save_tensors({"": copy[:0] if copy.ndim else copy})  # raises for the kinds that safetensors lacks
    except (TypeError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InvalidInputError(
            f"{_words(path)} is of a kind that cannot be stored ({error}); convert it to a dense tensor of numbers."
        ) from error
    return copy


def _words(path: tuple[str | int, ...]) -> str:
    return "the value" + "".join(f"[{key!r}]" for key in path)
