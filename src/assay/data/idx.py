"""Files in the idx format of MNIST, plain or compressed with gzip or xz."""

import gzip
import lzma
import struct
import zlib
from pathlib import Path

import numpy as np

from assay.core import InvalidInputError

_OPENERS = {".gz": gzip.open, ".xz": lzma.open}


def read_idx(path: Path) -> np.ndarray:
    """Read an idx file of unsigned bytes.

    The file starts with two zero bytes, the type (8: unsigned byte), the number of axes, and the length of each axis
    as a big-endian 32-bit integer; the values follow.

    Raises:
        InvalidInputError: The file is truncated, damaged, or of another format.

    Source: LeCun, Cortes and Burges, "The MNIST database", section "File formats".
    """
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            raw = file.read()
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InvalidInputError(f"{path} is damaged or cut short ({error}); fetch the file again") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise InvalidInputError(f"{path} is no idx file of unsigned bytes; fetch the file again")
    start = 4 + 4 * raw[3]
    shape = struct.unpack(f">{raw[3]}I", raw[4:start]) if len(raw) >= start else ()
    if len(raw) < start or len(raw) - start != int(np.prod(shape, dtype=np.int64)):
        raise InvalidInputError(
            f"{path} announces an array of shape {shape} but holds {max(0, len(raw) - start)} values; "
            "fetch the file again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write unsigned bytes as an idx file, compressed as the suffix says (`.gz`, `.xz` or none)."""
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    with _OPENERS.get(path.suffix, open)(path, "wb") as file:
        file.write(header + np.ascontiguousarray(array, np.uint8).tobytes())
