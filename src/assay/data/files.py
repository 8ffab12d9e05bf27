"""Data sets from the user's files: NumPy archives and image folders."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from assay.core import InvalidInputError, MissingDataError
from assay.data.dataset import Dataset
from assay.data.tensors import images, labels

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def load_npz(path: str | Path, *, input_range: tuple[float, float] = (0.0, 1.0)) -> Dataset:
    """Read a data set from a NumPy archive.

    Its arrays are `x` and `y`, or `x_train` and `y_train` with an optional `x_test` and `y_test`, and an optional
    `class_names`. Samples in float32 or float64 are unchanged. Bytes are images of shape `(n, h, w)`,
    `(n, h, w, channels)` or `(n, channels, h, w)` and are divided by 255. Labels are integers from 0.

    Args:
        path: The `.npz` file.
        input_range: Lowest and highest value of a sample.

    Returns:
        The data set; its test part is empty where the file has none.

    Raises:
        InvalidInputError: The file is damaged, lacks an array, holds objects, or its arrays do not fit each other.
        MissingDataError: There is no such file.
    """
    path = Path(path)
    arrays = _read_archive(path)
    prefix = "_train" if "x_train" in arrays else ""
    for key in (f"x{prefix}", f"y{prefix}"):
        if key not in arrays:
            raise InvalidInputError(
                f"{path} holds {', '.join(sorted(arrays)) or 'nothing'} but no {key}; save it with "
                "numpy.savez(path, x=samples, y=labels) or with x_train, y_train, x_test, y_test"
            )
    x_train, y_train = _samples(arrays[f"x{prefix}"], path), _labels(arrays[f"y{prefix}"], path)
    x_test, y_test = x_train[:0], y_train[:0]
    if "x_test" in arrays and "y_test" in arrays:
        x_test, y_test = _samples(arrays["x_test"], path), _labels(arrays["y_test"], path)
    n_classes = int(torch.cat([y_train, y_test]).max()) + 1 if len(y_train) else 1
    given = arrays.get("class_names", np.arange(n_classes))
    return Dataset(path.stem, x_train, y_train, x_test, y_test, input_range, tuple(str(name) for name in given.ravel()))


def load_image_folder(path: str | Path) -> Dataset:
    """Read an image folder with one sub-folder for each class.

    Sub-folders `train` and `test`, each with the sub-folders of the classes, become the two parts of the data set.
    Classes are numbered in the alphabetical order of their folders. All images must have the same size; the result is
    grey if all images are grey, else RGB.

    Args:
        path: The folder.

    Returns:
        Images as float32 in `[0, 1]`; the test part is empty where the folder has none.

    Raises:
        InvalidInputError: There are no classes or images, sizes differ, or an image is damaged.
        MissingDataError: There is no such folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise MissingDataError(f"there is no folder {path}; give the folder that holds one sub-folder for each class")
    train = path / "train" if (path / "train").is_dir() else path
    classes = tuple(sorted(folder.name for folder in train.iterdir() if folder.is_dir()))
    if not classes:
        raise InvalidInputError(f"{train} has no sub-folders; put the images of each class into a sub-folder")
    files = _image_files(train, classes)
    n_train = len(files)
    if not n_train:
        raise InvalidInputError(f"the class folders of {train} hold no images ({', '.join(sorted(_SUFFIXES))})")
    if train != path and (path / "test").is_dir():
        files += _image_files(path / "test", classes)
    x = images(_read_images([file for file, _ in files]))
    y = torch.tensor([label for _, label in files])
    return Dataset(path.name, x[:n_train], y[:n_train], x[n_train:], y[n_train:], class_names=classes)


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; give a .npz archive with arrays x and y")
    try:
        # NumPy would leave a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            return {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, BadZipFile) as error:
        raise InvalidInputError(
            f"{path} cannot be read as an archive of plain arrays ({error}); use numpy.savez(path, x=..., y=...)"
        ) from error


def _samples(array: np.ndarray, path: Path) -> Float[Tensor, "n ..."]:
    if array.dtype in (np.float32, np.float64):
        return torch.from_numpy(array)
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        return images(array)
    raise InvalidInputError(
        f"samples in {path} are {array.dtype} of shape {array.shape}; they must be float32 or float64, or images as "
        "bytes (uint8) of shape (n, h, w) or (n, h, w, channels)"
    )


def _labels(array: np.ndarray, path: Path) -> Tensor:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"labels in {path} are {array.dtype} of shape {array.shape}; they must be a vector of integers from 0"
        )
    return labels(array)


def _image_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    unknown = sorted({entry.name for entry in folder.iterdir() if entry.is_dir()} - set(classes))
    if unknown:
        raise InvalidInputError(f"{folder} has classes that the training part lacks: {', '.join(unknown)}; remove them")
    return [
        (file, label)
        for label, name in enumerate(classes)
        if (folder / name).is_dir()
        for file in sorted((folder / name).iterdir())
        if file.suffix.lower() in _SUFFIXES
    ]


def _read_images(files: list[Path]) -> np.ndarray:
    opened: list[Image.Image] = []
    for file in files:
        try:
            with Image.open(file) as image:
                image.load()
        except (UnidentifiedImageError, OSError) as error:
            raise InvalidInputError(f"{file} is no readable image ({error}); replace or remove it") from error
        if opened and image.size != opened[0].size:
            raise InvalidInputError(
                f"{file} is {image.size[0]} x {image.size[1]} pixels, {files[0]} is {opened[0].size[0]} x "
                f"{opened[0].size[1]}; bring all images to one size"
            )
        opened.append(image)
    mode = "L" if all(image.mode in ("1", "L") for image in opened) else "RGB"
    return np.stack([np.asarray(image.convert(mode)) for image in opened])
