"""Make the embedded part of Fashion-MNIST from the full set.

    python tools/embed_fashion.py FOLDER

FOLDER holds the four files of https://github.com/zalandoresearch/fashion-mnist (idx, plain or gzipped). Of each class
the images whose pixels have the lowest SHA-256 are kept: a fixed pseudo-random choice that anyone can repeat. They
are written in the order of that hash, as xz-compressed idx files, which hold more images in a megabyte than PNG or
lossless WebP mosaics do.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

from assay.data.idx import read_idx, write_idx

PARTS = {"train": ("train", 200), "test": ("t10k", 50)}  # ours, theirs, images a class
TARGET = Path(__file__).parents[1] / "src" / "assay" / "data" / "embedded"


def choose(pixels: np.ndarray, classes: np.ndarray, per_class: int) -> list[int]:
    """Return the indices of the `per_class` images of each class with the lowest hash, in the order of the hash."""
    hashes = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
    order = sorted(range(len(pixels)), key=hashes.__getitem__)
    kept = [[i for i in order if classes[i] == label][:per_class] for label in np.unique(classes)]
    return sorted((i for part in kept for i in part), key=hashes.__getitem__)


def find(folder: Path, stem: str) -> Path:
    """Return the file of that name, plain or gzipped."""
    plain = folder / stem
    return plain if plain.exists() else folder / f"{stem}.gz"


def main(source: Path) -> None:
    """Write the four embedded files."""
    for ours, (theirs, per_class) in PARTS.items():
        pixels = read_idx(find(source, f"{theirs}-images-idx3-ubyte"))
        classes = read_idx(find(source, f"{theirs}-labels-idx1-ubyte"))
        kept = choose(pixels, classes, per_class)
        write_idx(TARGET / f"fashion-{ours}-images.idx.xz", pixels[kept])
        write_idx(TARGET / f"fashion-{ours}-labels.idx.xz", classes[kept])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/embed_fashion.py FOLDER")
    main(Path(sys.argv[1]))
