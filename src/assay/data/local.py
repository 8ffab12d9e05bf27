"""MNIST, Fashion-MNIST and CIFAR-10 from local files, without downloads or pickles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from assay.core import InvalidInputError, MissingDataError
from assay.data.dataset import Dataset
from assay.data.embedded import FASHION_CLASSES
from assay.data.idx import read_idx
from assay.data.tensors import images, labels

_CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_SOURCES = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)",
    "fashion-mnist": "https://github.com/zalandoresearch/fashion-mnist",
    "mnist": "https://github.com/cvdfoundation/mnist",
}


def load_mnist(root: Path | None) -> Dataset:
    """Load MNIST from `root/mnist` or torchvision's `root/MNIST/raw`: four idx files, plain or gzipped."""
    return _load_idx("mnist", root, ("mnist", "MNIST/raw"), tuple("0123456789"))


def load_fashion_mnist(root: Path | None) -> Dataset:
    """Load Fashion-MNIST from `root/fashion-mnist` or torchvision's `root/FashionMNIST/raw`, as four idx files."""
    folders = ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw")
    return _load_idx("fashion-mnist", root, folders, FASHION_CLASSES)


def load_cifar10(root: Path | None) -> Dataset:
    """Load CIFAR-10 from `root/cifar10` (or the archive's own folder): the binary version or WebP mosaics.

    The binary version is `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, each record a label byte and
    3 x 32 x 32 bytes. A mosaic holds 5,000 images in 500 rows and 10 columns, `train_00.webp` to `train_09.webp`,
    `test_00.webp` and `test_01.webp`, beside `labels.npz` with `y_train` and `y_test`.
    """
    folders = _folders("cifar10", root, ("cifar10", "cifar-10-batches-bin"))
    for folder in folders:
        if (folder / "data_batch_1.bin").exists():
            batches = [folder / f"data_batch_{i}.bin" for i in range(1, 6)], [folder / "test_batch.bin"]
            return Dataset.undecoded("cifar10", *map(_read_batches, batches), class_names=_CIFAR_CLASSES)
        if (folder / "labels.npz").exists():
            mosaics = _open_mosaics(folder, "train", 10), _open_mosaics(folder, "test", 2)
            return Dataset.undecoded("cifar10", *mosaics, class_names=_CIFAR_CLASSES)
    if root is not None and any(root.glob("*/data_batch_1")):
        raise InvalidInputError(
            "the Python version of CIFAR-10 (data_batch_1, ...) is made of pickles, which can run code when read; "
            "take the binary version (cifar-10-binary.tar.gz) from https://www.cs.toronto.edu/~kriz/cifar.html"
        )
    raise _missing("cifar10", folders, "data_batch_1.bin")


def _folders(name: str, root: Path | None, candidates: tuple[str, ...]) -> list[Path]:
    if root is None:
        raise MissingDataError(
            f"{name} is read from files, and no folder was given; pass root= or set the environment variable "
            "ASSAY_DATA to the folder that holds it"
        )
    return [root / candidate for candidate in candidates]


def _missing(name: str, folders: list[Path], file: str) -> MissingDataError:
    looked = " or ".join(str(folder / file) for folder in folders)
    return MissingDataError(f"{name} was not found: looked for {looked}; get it from {_SOURCES[name]}")


def _load_idx(name: str, root: Path | None, candidates: tuple[str, ...], class_names: tuple[str, ...]) -> Dataset:
    folders = _folders(name, root, candidates)
    parts = []
    for part in ("train", "t10k"):
        pixels = _read_images(_find(name, folders, f"{part}-images-idx3-ubyte"))
        parts.append((partial(images, pixels), labels(read_idx(_find(name, folders, f"{part}-labels-idx1-ubyte")))))
    return Dataset.undecoded(name, *parts, class_names=class_names)


def _find(name: str, folders: list[Path], stem: str) -> Path:
    for folder in folders:
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.exists():
                return path
    raise _missing(name, folders, f"{stem}[.gz]")


def _read_images(path: Path) -> np.ndarray:
    pixels = read_idx(path)
    if pixels.ndim != 3:
        raise InvalidInputError(f"{path} holds an array of shape {pixels.shape}, not images (n, height, width)")
    return pixels


def _read_batches(paths: list[Path]) -> tuple[Callable[[], Tensor], Tensor]:
    """Read bytes, and return what turns them into images, and their labels."""
    records = []
    for path in paths:
        if not path.exists():
            raise MissingDataError(f"cifar10 is not whole: {path} is missing; unpack the binary version again")
        raw = np.fromfile(path, np.uint8)
        if not len(raw) or len(raw) % 3073:
            raise InvalidInputError(
                f"{path} holds {len(raw)} bytes, no whole number of 3073-byte records; fetch it again"
            )
        records.append(raw.reshape(-1, 3073))
    batch = np.concatenate(records)
    return partial(images, batch[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels(batch[:, 0])


def _open_mosaics(folder: Path, split: str, count: int) -> tuple[Callable[[], Tensor], Tensor]:
    """Look at the mosaics of a part, and return what decodes them, and their labels."""
    paths = [folder / f"{split}_{index:02d}.webp" for index in range(count)]
    for path in paths:
        if not path.exists():
            raise MissingDataError(f"cifar10 is not whole: {path} is missing; restore the folder")
        with _opened(path) as mosaic:
            if mosaic.size != (320, 16000):
                raise InvalidInputError(
                    f"{path} has {mosaic.height} x {mosaic.width} pixels, not 500 rows and 10 columns of 32 x 32 "
                    "images; restore the file"
                )
    try:
        classes = np.load(folder / "labels.npz", allow_pickle=False)[f"y_{split}"]
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise InvalidInputError(f"{folder / 'labels.npz'} cannot be read ({error}); restore the file") from error
    return partial(_decode_mosaics, paths), labels(classes)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as mosaic:
            yield mosaic
    except (UnidentifiedImageError, OSError) as error:
        raise InvalidInputError(f"{path} is damaged or cut short ({error}); restore the file") from error


def _decode_mosaics(paths: list[Path]) -> Tensor:
    """Decode one mosaic after the other into the images that are returned."""
    found = torch.empty(5000 * len(paths), 3, 32, 32)
    for path, part in zip(paths, found.split(5000), strict=True):
        with _opened(path) as mosaic:
            pixels = np.asarray(mosaic.convert("RGB"))
        part.copy_(images(pixels.reshape(500, 32, 10, 32, 3).swapaxes(1, 2).reshape(5000, 32, 32, 3)))
    return found
