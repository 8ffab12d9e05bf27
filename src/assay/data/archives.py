"""Data sets from NumPy archives."""

import math
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import torch
from jaxtyping import Int
from numpy.lib.format import read_array, read_array_header_1_0, read_array_header_2_0, read_magic
from torch import Tensor

from assay.core import InvalidInputError, MissingDataError
from assay.data.arrays import read_labels, read_samples, read_text
from assay.data.dataset import Dataset
from assay.data.limits import check_size

_LARGEST_LABEL = 1_000_000
_HEADER = 2**16  # bytes at the start of an array that hold its header
_LONGEST_REASON = 200  # characters
_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
_HELD_OUT = ("_test", "_val", "_valid", "_validation", "_dev")  # the first that is there is used


def load_npz(path: str | Path, *, input_range: tuple[float, float] = (0.0, 1.0), tokens: bool = False) -> Dataset:
    """Read a data set from a NumPy archive.

    Its arrays are `x` and `y`, or `x_train` and `y_train`, with an optional `x_test` and `y_test` (or `x_val` and
    `y_val`), and an optional `class_names`. Whole numbers in `groups`, or `groups_train` and `groups_test`, name the
    group of each sample. Samples in float32 or float64 are unchanged, so images must have the axes that the network
    expects. Bytes are images of shape `(n, h, w)`, `(n, h, w, channels)` or `(n, channels, h, w)`; they are divided by
    255 and get the axes `(n, channels, h, w)`. Labels are integers from 0, or names that `class_names` holds. What is
    left out or could be read otherwise is said in the notes.

    Args:
        path: The `.npz` file.
        input_range: Lowest and highest value of a sample.
        tokens: Whether integer samples are the ids of tokens, as a network with an embedding reads them.

    Returns:
        The data set; its test part is empty where the file has none.

    Raises:
        InvalidInputError: The file is damaged, lacks an array, holds objects, is larger than what is read (8 GiB and a
            quarter of the free memory; nothing is unpacked then), or its arrays do not fit each other.
        MissingDataError: There is no such file.
    """
    path = Path(path)
    members = _members(path)
    names = list(members)
    train = "_train" if "x_train" in names else ""
    for key in (f"x{train}", f"y{train}"):
        if key not in names:
            raise InvalidInputError(
                f"{path} holds {', '.join(names) or 'nothing'} but no {key}; save it with "
                "numpy.savez(path, x=samples, y=labels) or with x_train, y_train, x_test, y_test"
            )
    test = next((part for part in _HELD_OUT if {f"x{part}", f"y{part}"} <= set(names)), None)
    parts = [train] if test is None else [train, test]
    used = [f"{name}{part}" for part in parts for name in ("x", "y", "groups")] + ["class_names"]
    arrays = _read(path, {name: members[name] for name in used if name in members})
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
    groups = [_groups(arrays.get(f"groups{part}"), f"groups{part} in {path}") for part in (*parts, None)[:2]]
    return Dataset(path.stem, samples[0], labels[0], x_test, y_test, input_range, class_names, notes, *groups)


def _members(path: Path) -> dict[str, ZipInfo]:
    """Return the archive's arrays by name."""
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; give a .npz archive with arrays x and y")
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # a damaged directory raises errors of many kinds
        raise InvalidInputError(
            f"{path} cannot be read as an archive of plain arrays ({error}); use numpy.savez(path, x=..., y=...)"
        ) from error
    return {member.filename.removesuffix(".npy"): member for member in members if member.filename.endswith(".npy")}


def _read(path: Path, members: dict[str, ZipInfo]) -> dict[str, np.ndarray]:
    """Read arrays whose sizes, as the archive and their own headers state them, agree and fit into memory."""
    sizes: dict[str, int] = {}
    arrays: dict[str, np.ndarray] = {}
    name = next(iter(members))
    try:
        with ZipFile(path) as archive:
            for name, member in members.items():
                sizes[name] = _size(archive, member)
            check_size(sum(sizes.values()), path, "save a part of the data")
            for name, member in members.items():
                with archive.open(member) as file:
                    arrays[name] = read_array(file, allow_pickle=False)
    except InvalidInputError:
        raise
    except Exception as error:  # a damaged file raises errors of many kinds
        raise InvalidInputError(
            f"{name} in {path} cannot be read as a plain array ({_reason(error)}); save arrays of one shape, of "
            "numbers or text, with numpy.savez(path, x=..., y=...)"
        ) from error
    return arrays


def _reason(error: Exception) -> str:
    """Return the first sentence of an error, without what follows: NumPy advises to load the file unsafely."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:_LONGEST_REASON].rstrip(".")


def _size(archive: ZipFile, member: ZipInfo) -> int:
    """Return the bytes that an array takes as samples, of which bytes and halves become float32."""
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError("it is compressed otherwise than by NumPy")
    with archive.open(member) as file:
        start = BytesIO(file.read(_HEADER))
    version = read_magic(start)
    if version not in _HEADERS:
        raise ValueError(f"its format is {version}")
    shape, _, dtype = _HEADERS[version](start)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    count = math.prod(shape)
    claimed, held = count * dtype.itemsize, member.file_size - start.tell()
    if min(shape, default=0) < 0 or claimed != held:
        raise ValueError(f"its header states {claimed} bytes of shape {shape}, and it holds {held}")
    return count * (4 if dtype in (np.uint8, np.float16) else dtype.itemsize)


def _class_names(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, ...]:
    """Return the names of the classes, none where the archive has none."""
    given = arrays.get("class_names", np.array([], str))
    if given.ndim != 1 or given.dtype.kind not in "USiu":
        raise InvalidInputError(
            f"class_names in {path} has shape {given.shape} and type {given.dtype}; save one text for each class, in "
            "the order of the labels"
        )
    return tuple(read_text(given).tolist())


def _groups(given: np.ndarray | None, name: str) -> Int[Tensor, " _"] | None:
    """Return the groups of samples, None where the archive has none."""
    if given is not None and (given.ndim != 1 or given.dtype.kind not in "biu"):
        raise InvalidInputError(
            f"{name} has shape {given.shape} and type {given.dtype}; save a whole number for each sample, such as "
            "numpy.unique(groups, return_inverse=True)[1]"
        )
    return None if given is None else torch.from_numpy(given.astype(np.int64))


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
