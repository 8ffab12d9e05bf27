"""Files of weights, read without running code and within the memory."""

import argparse
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from assay.core import InvalidInputError, MissingDataError
from assay.data.limits import check_size

CONVERT = "convert it where it was made, with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
INDEX = ".index.json"
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.")
_PICKLES = (".pkl", ".pickle", ".joblib")
_FOREIGN = {".npz": "a NumPy archive", ".npy": "a NumPy array", ".onnx": "an ONNX model", ".h5": "an HDF5 file"}
_LFS = b"version https://git-lfs.github.com/spec/"
_SMALLER = "give the weights of a smaller network, or use a machine with more memory"
_MOST_VALUES, _MOST_NESTED = 2**22, 100


def read_file(path: Path) -> Any:
    """Read one file of weights, in whatever nesting they lie.

    Raises:
        MissingDataError: There is no such file.
        InvalidInputError: Reading it would run code, or it is damaged or too large.
    """
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; give the trained weights, preferably as .safetensors")
    _check_file(path)
    shard = _SHARD.search(path.name)
    if shard and int(shard[1]) > 1:
        raise InvalidInputError(
            f"{path} is one of {int(shard[1])} files of the weights; give their index, as model.safetensors{INDEX}"
        )
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InvalidInputError(f"{path} is no safetensors file or is damaged ({error}); save it again") from error
    if path.suffix in _PICKLES:
        raise InvalidInputError(f"{path} is a pickle, which can run code when it is read; {CONVERT}")
    if path.suffix in _FOREIGN:
        raise InvalidInputError(f"{path} is {_FOREIGN[path.suffix]}, not a file of PyTorch or safetensors; {CONVERT}")
    return _read_torch(path)


def _check_file(path: Path) -> None:
    """Refuse a file that is too large or empty, or the address of its contents that Git LFS left in their place."""
    if not path.stat().st_size:
        raise InvalidInputError(f"{path} is empty; save or copy the weights again")
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise InvalidInputError(f"{path} is a pointer of Git LFS, not the weights; fetch them with: git lfs pull")
    check_size(path.stat().st_size, path, _SMALLER)
    if is_zipfile(path):
        _check_members(path)


def _check_members(path: Path) -> None:
    """Refuse an archive that is larger unpacked than packed; PyTorch stores its tensors as they are."""
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # a damaged directory raises errors of many kinds
        raise InvalidInputError(f"{path} is damaged; {CONVERT}") from error
    if any(PurePosixPath(member.filename).name == "constants.pkl" for member in members):
        raise InvalidInputError(f"{path} is a TorchScript archive; {CONVERT}")
    packed = any(member.compress_type != ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > path.stat().st_size:
        raise InvalidInputError(f"{path} is a compressed archive, which no file of weights is; {CONVERT}")


def check_contents(loaded: object, path: Path) -> None:
    """Refuse tensors that are larger than their file, and nested values that refer to each other without end."""
    n_bytes, n_values, waiting = 0, 0, [(loaded, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            n_bytes += value.numel() * value.element_size()
        entries = [inner for _, inner in inside(value, "")]
        n_values += len(entries)
        if n_values > _MOST_VALUES or depth > _MOST_NESTED:
            raise InvalidInputError(f"{path} holds values that are nested without end; {CONVERT}")
        waiting += [(inner, depth + 1) for inner in entries if isinstance(inner, Tensor | Mapping | list | tuple)]
    check_size(n_bytes, path, _SMALLER)


def _read_torch(path: Path) -> Any:
    """Read a PyTorch file that holds tensors and plain values: also NumPy's, and the options of a training script."""
    with torch.serialization.safe_globals(_plain_types()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on archives of TorchScript, which are refused below
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a file that needs code, or is damaged, raises errors of many kinds
            raise InvalidInputError(f"{path} {_refusal(path)}; {CONVERT}") from error


def _plain_types() -> list[Any]:
    """Return the types that checkpoints often hold beside weights, and that run no code when they are read."""
    build_scalar, build_array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    types = {type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OV"}
    return [
        *((build_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((build_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *(np.ndarray, np.dtype, argparse.Namespace),
        *types,
    ]


def _refusal(path: Path) -> str:
    """Say why a PyTorch file is not read."""
    try:
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:  # no file of today's format, or a damaged one
        return (
            "is a TorchScript archive"
            if "torchscript" in str(error)
            else "is damaged or would run code when it is read"
        )
    if any(name.startswith("torch.nn.modules.") for name in needed):
        return "holds a whole model, which would run code when it is read, instead of its weights"
    return f"would run code when it is read, of {', '.join(needed[:4])}" if needed else "is damaged"


def read_shards(index: Path) -> dict[str, Tensor]:
    """Read all files that an index lists beside it."""
    if not index.is_file():
        raise MissingDataError(f"there is no file {index}; give the index of the weights")
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        loose = [name for name in files if Path(name).name != name or _SHARD.search(name) is None]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"{index} lists no files of weights (weight_map); give another index") from error
    if loose:
        raise InvalidInputError(f"{index} lists {loose[0]!r}, which is no file name like model-00001-of-00002; mend it")
    tensors: dict[str, Tensor] = {}
    for name in files:
        path = index.parent / name
        if not path.is_file():
            raise MissingDataError(f"there is no file {path}, which {index.name} lists; put it beside the index")
        _check_file(path)
        tensors |= load_file(path) if path.suffix == ".safetensors" else _read_torch(path)
    return tensors


def inside(value: object, place: str) -> Iterator[tuple[str, object]]:
    """Yield what lies one level deeper, by its place."""
    entries = (
        value.items() if isinstance(value, Mapping) else enumerate(value if isinstance(value, list | tuple) else ())
    )
    for name, inner in entries:
        yield f"{place}.{name}" if place else str(name), inner
