"""Data sets from NumPy archives."""

import os
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from assay.core import InvalidInputError, MissingDataError
from assay.data.arrays import read_labels, read_samples, read_text
from assay.data.dataset import Dataset

_LARGEST_LABEL = 1_000_000
_HELD_OUT = ("_test", "_val", "_valid", "_validation", "_dev")  # the first that is there is used


def load_npz(path: str | Path, *, input_range: tuple[float, float] = (0.0, 1.0), tokens: bool = False) -> Dataset:
    """Read a data set from a NumPy archive.

    Its arrays are `x` and `y`, or `x_train` and `y_train`, with an optional `x_test` and `y_test` (or `x_val` and
    `y_val`), and an optional `class_names`. Samples in float32 or float64 are unchanged, so images must have the axes
    that the network expects. Bytes are images of shape `(n, h, w)`, `(n, h, w, channels)` or `(n, channels, h, w)`;
    they are divided by 255 and get the axes `(n, channels, h, w)`. Labels are integers from 0, or names that
    `class_names` holds. What is left out or could be read otherwise is said in the notes.

    Args:
        path: The `.npz` file.
        input_range: Lowest and highest value of a sample.
        tokens: Whether integer samples are the ids of tokens, as a network with an embedding reads them.

    Returns:
        The data set; its test part is empty where the file has none.

    Raises:
        InvalidInputError: The file is damaged, lacks an array, holds objects, or its arrays do not fit each other.
        MissingDataError: There is no such file.
    """
    path = Path(path)
    names = _names(path)
    train = "_train" if "x_train" in names else ""
    for key in (f"x{train}", f"y{train}"):
        if key not in names:
            raise InvalidInputError(
                f"{path} holds {', '.join(names) or 'nothing'} but no {key}; save it with "
                "numpy.savez(path, x=samples, y=labels) or with x_train, y_train, x_test, y_test"
            )
    test = next((part for part in _HELD_OUT if {f"x{part}", f"y{part}"} <= set(names)), None)
    parts = [train] if test is None else [train, test]
    used = [f"{letter}{part}" for part in parts for letter in "xy"] + ["class_names"]
    arrays = _read(path, [name for name in used if name in names])
    left_out = [name for name in names if name not in arrays]
    notes = [f"arrays of {path.name} are left out: {', '.join(left_out)}"] if left_out else []
    notes += [f"the held-out part is x{test}, y{test}"] if test not in (None, "_test") else []
    class_names = _class_names(arrays, path)
    samples, labels = [], []
    for part in parts:
        x, said = read_samples(arrays[f"x{part}"], f"x{part} in {path}", tokens=tokens)
        y, understood = read_labels(arrays[f"y{part}"], f"y{part} in {path}", class_names)
        samples.append(x)
        labels.append(y)
        notes += said + understood
    notes += _range_notes(labels, class_names, path)
    class_names = class_names or tuple(map(str, range(int(torch.cat(labels).max()) + 1 if len(labels[0]) else 1)))
    x_test, y_test = (samples[1], labels[1]) if test is not None else (samples[0][:0], labels[0][:0])
    notes = tuple(dict.fromkeys(notes))
    return Dataset(path.stem, samples[0], labels[0], x_test, y_test, input_range, class_names, notes)


def _names(path: Path) -> list[str]:
    """Return the names of the archive's arrays; refuse what would not fit into memory."""
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; give a .npz archive with arrays x and y")
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except (BadZipFile, OSError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as an archive of plain arrays ({error}); use numpy.savez(path, x=..., y=...)"
        ) from error
    size, memory = sum(member.file_size for member in members), _memory()
    if size > memory:
        raise InvalidInputError(
            f"{path} unpacks to {size / 2**30:.1f} GiB, more than the memory of this machine; save a part of the data"
        )
    return [member.filename.removesuffix(".npy") for member in members if member.filename.endswith(".npy")]


def _memory() -> float:
    """Return the machine's memory in bytes, infinity where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    name = names[0]
    try:
        # NumPy would leave a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            for name in names:
                arrays[name] = loaded[name]
                if not isinstance(arrays[name], np.ndarray):
                    raise ValueError("it is none")
    except Exception as error:  # a damaged file raises errors of many kinds
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error).split("\n")[0]
        raise InvalidInputError(
            f"{name} in {path} cannot be read as a plain array ({reason}); save arrays of one shape, of numbers or "
            "text, with numpy.savez(path, x=..., y=...)"
        ) from error
    return arrays


def _class_names(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, ...]:
    """Return the names of the classes, none where the archive has none."""
    given = arrays.get("class_names", np.array([], str))
    if given.ndim != 1 or given.dtype.kind not in "USiu":
        raise InvalidInputError(
            f"class_names in {path} has shape {given.shape} and type {given.dtype}; save one text for each class, in "
            "the order of the labels"
        )
    return tuple(read_text(given).tolist())


def _range_notes(labels: list[Int[Tensor, " _"]], class_names: tuple[str, ...], path: Path) -> list[str]:
    """Refuse labels that do not count from 0 where that is certain, and say it where it is not."""
    y = torch.cat(labels)
    if not len(y):
        return []
    low, high = int(y.min()), int(y.max())
    if low < 0:
        mend = "save (y + 1) // 2" if set(y.tolist()) == {-1, 1} else "relabel the classes from 0"
        raise InvalidInputError(f"{path} holds labels from {low} to {high}, and labels count from 0; {mend}")
    if high > _LARGEST_LABEL:
        raise InvalidInputError(
            f"{path} holds labels up to {high}, which number no classes; save numpy.unique(y, return_inverse=True)[1]"
        )
    if low == 1 and high == len(class_names):
        raise InvalidInputError(
            f"{path} holds labels from 1 to {high} for {high} class_names, and labels count from 0; save y - 1"
        )
    return [f"no sample has label 0; if the labels of {path.name} count from 1, save y - 1"] if low == 1 else []
