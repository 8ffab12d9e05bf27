"""Hostile files from the command line: one sentence, exit code 2, nothing written, and no memory to speak of."""

import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

import assay
from assay.cli import main
from helpers.command_line import PYTHON


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def write(name, content):
    Path(name).write_bytes(content)
    return name


def weights(name, content):
    return ["--weights", write(name, content)]


def archive(**arrays):
    np.savez("x.npz", **arrays)
    return ["--weights", "weights.pt", "--train", "x.npz"]


def file_as_archive(content):
    return ["--weights", "weights.pt", "--train", write("x.npz", content)]


def images(change):
    for name in "abc":
        Path("images", name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(f"images/{name}/0.png")
    change(Path("images"))
    return ["--weights", "weights.pt", "--train", "images"]


def header(shape):
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 64]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save("script.pt")
    return ["--weights", "script.pt"]


def huge_picture(folder):
    size = b"IHDR" + struct.pack(">II", 20_000, 20_000) + bytes([8, 0, 0, 0, 0])
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (size, b"IDAT")]
    (folder / "a" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


X, Y = np.full((4, 1, 4, 4), 0.5, np.float32), np.array([0, 1, 2, 0])
HOSTILE = {
    "a pickle with code": (lambda: weights("w.pt", pickle.dumps(Trap())), "would run code"),
    "a pickle by name": (lambda: weights("w.pkl", pickle.dumps(Trap())), "is a pickle"),
    "TorchScript": (scripted, "is a TorchScript archive"),
    "a header without end": (lambda: weights("w.safetensors", struct.pack("<Q", 2**62)), "header too large"),
    "a huge shape": (
        lambda: weights("w.safetensors", header([2**40, 2**40])),
        "overflow",
    ),
    "empty weights": (lambda: weights("w.pt", b""), "is empty"),
    "no archive": (lambda: file_as_archive(b"no archive"), "cannot be read as an archive"),
    "a pickle as archive": (lambda: file_as_archive(pickle.dumps(Trap())), "cannot be read as an archive"),
    "objects": (lambda: archive(x=np.array([None, {}]), y=Y[:2]), "it holds Python objects"),
    "negative labels": (lambda: archive(x=X, y=Y - 1), "labels from -1 to 1"),
    "one-hot labels": (lambda: archive(x=X, y=np.eye(3)[Y]), "save y.argmax(1)"),
    "labels as floats": (lambda: archive(x=X, y=Y.astype(float)), "save y.astype('int64')"),
    "a reversed range": (lambda: [*archive(x=X, y=Y), "--input-range", "1", "0"], "reversed"),
    "a size for an archive": (lambda: [*archive(x=X, y=Y), "--resize", "4", "4"], "--resize is for folders"),
    "a huge picture": (lambda: images(huge_picture), "has 400000000 pixels"),
    "a torn picture": (lambda: images(lambda folder: write(folder / "a" / "1.png", b"torn")), "no readable image"),
    "an animation": (
        lambda: images(
            lambda folder: Image.new("L", (4, 4)).save(
                folder / "a" / "1.gif", save_all=True, append_images=[Image.new("L", (4, 4), 99)]
            )
        ),
        "holds 2 pictures",
    ),
    "pictures of two sizes": (
        lambda: images(lambda folder: Image.new("L", (5, 7)).save(folder / "a" / "1.png")),
        "--resize HEIGHT WIDTH",
    ),
    "a pipe": (lambda: images(lambda folder: os.mkfifo(folder / "a" / "1.png")), "neither a file nor a folder"),
    "a loop": (lambda: images(lambda folder: (folder / "d").symlink_to("d")), "neither a file nor a folder"),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("write_files", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_one_sentence_and_runs_nothing(folder, capsys, write_files, words):
    given = write_files()
    before = sorted(folder.rglob("*"))
    assert main(["audit", "factories:network", *given]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert "unexpected" not in err
    assert "allow_pickle" not in err
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in str(path)] == before


MEASURED = PYTHON.replace(
    "sys.exit(main())",
    "import assay.audit.loading, resource; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
    "start = peak(); code = main(); print(code, peak() - start)",
)


def test_an_archive_that_unpacks_to_16_gib_is_refused_within_100_mib(folder):
    """Its zeros are one piece of a compressed stream, written many times."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (268435456, 4, 4), }\n"
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = stream.compress(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text) + stream.flush(
        zlib.Z_FULL_FLUSH
    )
    piece = stream.compress(bytes(2**24)) + stream.flush(zlib.Z_FULL_FLUSH)
    body = start + piece * 1024 + stream.flush()
    sizes = struct.pack("<HHQQ", 1, 16, 10 + len(text) + 2**34, len(body))
    common = struct.pack("<HHHHIIIHH", 0, 8, 0, 0, 0, 2**32 - 1, 2**32 - 1, 5, 20)
    entry = b"PK\1\2" + struct.pack("<HH", 45, 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"x.npy" + sizes
    local = b"PK\3\4" + struct.pack("<H", 45) + common + b"x.npy" + sizes + body
    # y is appended, and with it a directory of both
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)
    (folder / "x.npz").write_bytes(local + entry + end)
    np.savez(folder / "y.npz", y=Y)
    with ZipFile(folder / "y.npz") as other, ZipFile(folder / "x.npz", "a") as both:
        both.writestr("y.npy", other.read("y.npy"))
    arguments = ["audit", "factories:network", "--weights", "weights.pt", "--train", "x.npz"]
    environment = os.environ | {"PYTHONPATH": str(Path(assay.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    assert "x.npz takes 16 GiB in memory, more than the" in done.stderr
    code, kibibytes = map(int, done.stdout.split())
    assert code == 2
    assert kibibytes < 100 * 1024


def test_pictures_of_two_sizes_are_audited_at_the_size_that_is_given(folder, quick_probe, capsys):
    given = images(lambda path: Image.new("L", (5, 7)).save(path / "a" / "1.png"))
    assert main(["audit", "factories:network", *given, "--resize", "4", "4"]) == 0
    assert "1 of 4 images are resized to 4 x 4 (height x width) by bilinear" in capsys.readouterr().out
