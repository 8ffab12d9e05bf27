"""Archives whose sizes are absurd, refused before they are unpacked."""

from zipfile import ZipFile

import numpy as np
import pytest

from assay.core import InvalidInputError
from assay.data import load_npz

X = np.linspace(0, 1, 12).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture
def never_read(monkeypatch):
    """Fail a test in which an array is unpacked."""

    def read(*arguments, **options):
        raise AssertionError("must not be unpacked")

    monkeypatch.setattr("assay.data.archives.read_array", read)


def npy(shape, data=b"", descr="<f4", version=1):
    """Return an array's file with a header of any claim."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode("latin1")
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


def archive_of(path, x, y=Y, **options):
    """Write an archive with any bytes as x."""
    np.savez(path, y=y)
    with ZipFile(path, "a", **options) as archive:
        archive.writestr("x.npy", x)
    return path


def test_an_archive_above_the_limit_is_refused_unread(tmp_path, monkeypatch, never_read):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((6, 500_000), np.float32), y=Y)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("assay.data.limits.LARGEST", 2**22)
    words = r"takes 0.0112 GiB in memory, more than the 0.00391 GiB that are read here.*; save a part of the data"
    with pytest.raises(InvalidInputError, match=words):
        load_npz(path)


def test_bytes_count_as_the_floats_that_they_become(tmp_path, monkeypatch, never_read):
    path = save(tmp_path / "a.npz", x=np.zeros((6, 10, 10), np.uint8), y=Y)
    monkeypatch.setattr("assay.data.limits.LARGEST", 6 * 400 + Y.nbytes - 1)
    with pytest.raises(InvalidInputError, match="more than the"):
        load_npz(path)


HEADERS = {
    "more than it holds": (npy((6, 2), bytes(40)), r"states 48 bytes of shape \(6, 2\), and it holds 40"),
    "less than it holds": (npy((6, 2), bytes(56)), r"states 48 bytes of shape \(6, 2\), and it holds 56"),
    "40 GiB": (npy((10 * 2**30,), bytes(400)), "states 42949672960 bytes"),
    "more than can be counted": (npy((10**30, 10**30), bytes(400)), "of shape .1000000000000000"),
    "negative": (npy((-6, -2), bytes(48)), r"of shape \(-6, -2\)"),
    "a header of 4 GiB": (npy((6, 2), bytes(48), version=2)[:8] + b"\xff" * 4 + bytes(10**6), "array header"),
    "objects": (npy((6, 2), bytes(96), descr="|O"), "it holds Python objects"),
    "another format": (npy((6, 2), bytes(48), version=3), r"its format is \(3, 0\)"),
    "code": (npy("print(1)"), "malformed node"),
    "a long header": (npy("(6, 2)" + " " * 20_000, version=2), r"Header info length .* securely\); save"),
    "nothing": (b"", "magic string"),
}


@pytest.mark.parametrize(("content", "words"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_with_absurd_claims_is_refused_unread(tmp_path, never_read, content, words):
    with pytest.raises(
        InvalidInputError, match=f"x in .* cannot be read as a plain array .*{words}.*numpy.savez"
    ) as got:
        load_npz(archive_of(tmp_path / "a.npz", content))
    assert "allow_pickle" not in str(got.value)


def test_no_more_is_unpacked_than_the_directory_states(tmp_path):
    """The stream of x goes on for 4 MiB after the 48 bytes that directory and header state."""
    path = archive_of(tmp_path / "a.npz", npy((6, 2), bytes(48) + bytes(2**22)), compression=8)
    true, stated = (len(npy((6, 2))) + size for size in (48 + 2**22, 48))
    content = path.read_bytes()
    path.write_bytes(content.replace(true.to_bytes(4, "little"), stated.to_bytes(4, "little")))
    with pytest.raises(InvalidInputError, match=r"x in .* cannot be read as a plain array .Bad CRC-32"):
        load_npz(path)


def test_other_compressions_than_those_of_numpy_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="compressed otherwise than by NumPy"):
        load_npz(archive_of(tmp_path / "a.npz", npy((6, 2), bytes(48)), compression=14))
