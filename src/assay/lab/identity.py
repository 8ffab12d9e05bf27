"""Stable digests of values: the same in every process and on every machine."""

import dataclasses
import hashlib
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from assay.core import InvalidInputError


def digest(value: Any, length: int = 12) -> str:
    """Return a hexadecimal digest of a value's content.

    (``joblib.hash`` goes through pickle, whose bytes differ between processes for tensors.)

    Args:
        value: Numbers, strings, None, paths, tensors, arrays; tuples, lists, dicts and dataclasses of these.
        length: How many hexadecimal digits.

    Returns:
        The first digits of a SHA-256.

    Raises:
        InvalidInputError: The value holds anything else.

    >>> digest({"seed": 0, "widths": (8, 8)}) == digest({"widths": [8, 8], "seed": 0})
    True
    """
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()[:length]


def _feed(sha: Any, value: Any) -> None:
    if value is None or isinstance(value, bool | int | float | str | torch.device | torch.dtype):
        sha.update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, list | tuple):
        sha.update(f"list {len(value)};".encode())
        for entry in value:
            _feed(sha, entry)
    elif isinstance(value, dict):
        sha.update(f"dict {len(value)};".encode())
        for key in sorted(value, key=repr):
            _feed(sha, key)
            _feed(sha, value[key])
    elif isinstance(value, PurePath):
        sha.update(f"path:{value.as_posix()!r};".encode())
    elif isinstance(value, torch.Tensor):
        # As raw bytes: NumPy lacks some of torch's types (bfloat16).
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        sha.update(f"tensor {value.dtype} {tuple(value.shape)};".encode() + content.numpy().tobytes())
    elif isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        sha.update(f"array {value.dtype.str} {value.shape};".encode() + value.tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        sha.update(f"{type(value).__name__};".encode())
        _feed(sha, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    else:
        raise InvalidInputError(
            f"a {type(value).__name__} has no stable digest, so that a resumed run could not find its cell again; "
            "make items of numbers, strings, tensors, and tuples, dicts or dataclasses of these."
        )
