"""Files that are whole or absent: atomic writing, and values as safetensors or JSON (nothing is pickled)."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from assay.core import InvalidInputError

Value = Any
"""A dict of tensors by name, or a JSON value: None, bool, int, float, str, list, dict with string keys."""


class Encoded(NamedTuple):
    """A value as bytes, with the suffix of the file that holds it."""

    suffix: str
    content: bytes


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old content or the new, never a part.

    Args:
        path: The file; its folder is made if it is missing.
        content: What it shall hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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
        raise InvalidInputError(f"{path} is not a JSON file ({error}); delete it or write it anew.") from error


def encode(value: Value) -> Encoded:
    """Turn a value into bytes: a dict of tensors as safetensors, all else as JSON.

    Args:
        value: A dict of tensors by name, or a JSON value. Tuples become lists.

    Returns:
        The suffix and the content of the file that holds it.

    Raises:
        InvalidInputError: The value is neither, or holds a number that is not finite.

    >>> decode(encode({"recall": (0.5, 1)}))
    {'recall': [0.5, 1]}
    """
    if isinstance(value, dict) and value and all(isinstance(entry, Tensor) for entry in value.values()):
        # One copy each: safetensors takes neither shared storage nor strides.
        tensors = {
            name: entry.detach().cpu().clone(memory_format=torch.contiguous_format) for name, entry in value.items()
        }
        return Encoded(".safetensors", save_tensors(tensors))
    _check_json(value, "the value")
    return Encoded(".json", json.dumps(value, allow_nan=False).encode())


def plain(value: Any) -> Any:
    """Return a JSON value in the form in which it is read back: tuples as lists.

    Args:
        value: A JSON value.

    Returns:
        Its copy.

    Raises:
        InvalidInputError: It holds anything else.

    >>> plain({"widths": (4, 8)})
    {'widths': [4, 8]}
    """
    _check_json(value, "the value")
    return json.loads(json.dumps(value))


def decode(encoded: Encoded) -> Value:
    """Return the value that `encode` was given, tensors on the CPU and in the order of their names.

    Args:
        encoded: A file's suffix and content.

    Returns:
        The value.

    Raises:
        InvalidInputError: The content is corrupt.
    """
    try:
        if encoded.suffix == ".safetensors":
            return dict(sorted(load_tensors(encoded.content).items()))  # its own order changes from call to call
        return json.loads(encoded.content)
    except (ValueError, SafetensorError) as error:
        raise InvalidInputError(f"a stored value is corrupt: {error}") from error


def _check_json(value: Any, where: str) -> None:
    if isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            _check_json(entry, f"{where}[{index}]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise InvalidInputError(f"{where} has the key {key!r}; JSON keeps string keys only: use str().")
            _check_json(entry, f"{where}[{key!r}]")
    elif type(value) is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise InvalidInputError(f"{where} is {value}; a stored number must be finite (None says absent).")
    elif not (value is None or type(value) in (bool, int, str)):
        raise InvalidInputError(
            f"{where} is a {type(value).__name__}; store a dict of tensors alone, or plain numbers, strings, "
            "lists and dicts (float(...), .tolist() convert)."
        )
