"""Samples and labels from arrays, understood where their meaning is certain."""

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from assay.core import InvalidInputError
from assay.data.tensors import images, labels

_CHANNELS = (1, 3)


def read_samples(array: np.ndarray, name: str, *, tokens: bool = False) -> tuple[Shaped[Tensor, "n ..."], list[str]]:
    """Turn an array into samples, and say what was understood.

    Args:
        array: Floating-point samples, bytes that are images, or integers that are tokens.
        name: Name of the array in messages.
        tokens: Whether integers are the ids of tokens; bytes are where they have two axes.

    Returns:
        The samples: float32 or float64 unchanged, float16 as float32, bytes as images in `[0, 1]`, tokens as int64.

    Raises:
        InvalidInputError: The array has no certain meaning as samples.
    """
    if array.ndim < 2:
        raise InvalidInputError(
            f"{name} has shape {array.shape}; samples need a leading axis, such as x[:, None] for one number a sample"
        )
    if tokens and array.dtype.kind in "iu" and (array.dtype != np.uint8 or array.ndim == 2):
        return torch.from_numpy(array.astype(np.int64)), [f"{array.dtype} samples are read as ids of tokens"]
    if array.dtype == np.uint8:
        return _byte_images(array, name)
    if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)), _axes_note(array, name)
    if array.dtype == np.float16:
        notes = ["float16 samples are read as float32", *_axes_note(array, name)]
        return torch.from_numpy(array.astype(np.float32)), notes
    mend = (
        "divide pixels by the largest value of their depth, and save x.astype('float32'); ids of tokens are read for a "
        "network with an nn.Embedding, or by load_npz(path, tokens=True)"
    )
    raise InvalidInputError(
        f"{name} is {array.dtype} of shape {array.shape}; samples must be float32 or float64, or images as bytes "
        f"(uint8): {mend if array.dtype.kind in 'iub' else 'convert them'}"
    )


def _axes_note(array: np.ndarray, name: str) -> list[str]:
    if array.ndim != 4 or array.shape[3] not in _CHANNELS or array.shape[1] in _CHANNELS:
        return []
    return [f"{name} of shape {_sample_shape(array.shape)} is taken as it is; its last axis looks like channels"]


def _byte_images(array: np.ndarray, name: str) -> tuple[Float[Tensor, "n ch h w"], list[str]]:
    shape = array.shape
    mend = "save x.astype('float32') / 255 with the axes (n, channels, h, w)"
    if array.ndim not in (3, 4):
        raise InvalidInputError(f"{name} holds bytes of shape {shape}, and bytes are read as images; {mend}")
    if array.ndim == 4:
        first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
        if first == last:
            which = "both its second and its last axis" if first else "neither its second nor its last axis"
            raise InvalidInputError(f"{name} holds bytes of shape {shape}: {which} could be 1 or 3 channels; {mend}")
        array = array.transpose(0, 2, 3, 1) if first else array
    if array.size and array.max() == 1:
        raise InvalidInputError(
            f"{name} holds bytes that are all 0 or 1, where 255 is read as white; save x.astype('float32'), or 255 * x"
        )
    pixels = images(array)
    axes = f" of shape {_sample_shape(tuple(pixels.shape))}" if pixels.shape != shape else ""
    return pixels, [f"bytes of shape {_sample_shape(shape)} are read as images{axes}, divided by 255"]


def _sample_shape(shape: tuple[int, ...]) -> str:
    return f"(n, {', '.join(map(str, shape[1:]))})"


def read_labels(array: np.ndarray, name: str, class_names: tuple[str, ...] = ()) -> tuple[Int[Tensor, " n"], list[str]]:
    """Turn an array into int64 labels, and say what was understood.

    Args:
        array: Integers, as a vector or a column; or names of classes.
        name: Name of the array in messages.
        class_names: The classes' names in the order of the network's outputs, where they are known.

    Raises:
        InvalidInputError: The array has no certain meaning as labels.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1 and array.dtype.kind in "US":
        return _named_labels(read_text(array), name, class_names)
    if array.ndim == 1 and array.dtype.kind in "iub":
        return labels(array), []
    raise InvalidInputError(
        f"{name} is {array.dtype} of shape {array.shape}; labels must be a vector of integers from 0: {_mend(array)}"
    )


def read_text(array: np.ndarray) -> np.ndarray:
    """Return an array of text, or of numbers, as text."""
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array.astype(str)


def _named_labels(array: np.ndarray, name: str, class_names: tuple[str, ...]) -> tuple[Int[Tensor, " n"], list[str]]:
    """Number labels that are names by the order of the class names, which their alphabet does not tell."""
    unknown = sorted(set(array.tolist()) - set(class_names))
    if unknown:
        if all(label.isdecimal() for label in unknown):
            raise InvalidInputError(f"{name} holds numbers as text ({', '.join(unknown[:4])}); save y.astype('int64')")
        why = "which class_names lacks" if class_names else "unnumbered"
        raise InvalidInputError(
            f"{name} holds names ({', '.join(unknown[:4])}), {why}; add class_names to the archive, in the order "
            "of the network's outputs"
        )
    return labels(np.array([class_names.index(label) for label in array.tolist()])), [
        "labels are names, numbered in the order of class_names"
    ]


def _mend(array: np.ndarray) -> str:
    if array.ndim == 0:
        return "save one for each sample"
    if array.ndim == 2 and array.dtype.kind in "iubf" and (array.sum(1) == 1).all() and np.isin(array, (0, 1)).all():
        return "these are one-hot, save y.argmax(1)"
    if array.dtype.kind == "f" and array.ndim == 1 and (array == np.floor(array)).all():
        return "save y.astype('int64')"
    if array.dtype.kind == "f" and array.ndim == 1:
        return "for a regression, write a Python file with a function subject() and give the targets there"
    return "save one number for each sample"
