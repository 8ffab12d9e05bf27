"""Data sets from folders of images, with one sub-folder for each class."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from assay.core import InvalidInputError, MissingDataError, check_count
from assay.data.dataset import Dataset
from assay.data.pictures import MOST_PIXELS, SUFFIXES, read_pictures

# The parts of a data set by the usual names of their folders; the first of the held-out ones that is there is used.
_TRAINING, _HELD_OUT = ("train", "training"), ("test", "testing", "val", "valid", "validation", "dev")
_SYSTEM = {"__macosx", "__pycache__", "@eadir", "thumbs.db", "desktop.ini"}  # and what begins with a full stop


def load_image_folder(path: str | Path, *, resize: tuple[int, int] | None = None) -> Dataset:
    """Read an image folder with one sub-folder for each class.

    Sub-folders `train` and `test` (or `val`), each with the sub-folders of the classes, become the two parts of the
    data set. Classes are numbered in the alphabetical order of their folders. All images must have the same size, or
    are brought to it by `resize`: by bilinear interpolation with antialiasing, without keeping the aspect ratio. The
    result is grey if all images are grey, else RGB. Grey values are divided by the largest of their depth (8 or 16
    bits). EXIF orientations are not applied. What is left out or could be read otherwise is said in the notes.

    Args:
        path: The folder.
        resize: Height and width in pixels that images of another size are brought to.

    Returns:
        Images as float32 in `[0, 1]`; the test part is empty where the folder has none.

    Raises:
        InvalidInputError: There are no classes or images, folders lie deeper than the classes', sizes differ, or an
            image is damaged or has no certain meaning as grey or RGB: animations, transparent pixels, 32-bit values.
        MissingDataError: There is no such folder.
    """
    path = Path(path)
    _check_resize(resize)
    if not path.is_dir():
        raise MissingDataError(f"there is no folder {path}; give the folder that holds one sub-folder for each class")
    left_out = _LeftOut(path)
    train, test, notes = _parts(path, left_out)
    folders = _listing(train, left_out, outside=True).folders
    classes = tuple(folder.name for folder in folders)
    if not classes:
        raise InvalidInputError(f"{train} has no sub-folders; put the images of each class into a sub-folder")
    files = _class_files(folders, classes, left_out)
    n_train = len(files)
    if not n_train:
        raise InvalidInputError(f"the class folders of {train} hold no images ({', '.join(sorted(SUFFIXES))})")
    notes += _empty_classes(classes, files, "training")
    if test is not None:
        held_out = _class_files(_listing(test, left_out, outside=True).folders, classes, left_out)
        notes += _empty_classes(classes, held_out, "held-out")
        files += held_out
    pixels, read_as = read_pictures([file for file, _ in files], resize=resize)
    x, y = torch.from_numpy(pixels), torch.tensor([label for _, label in files])
    return Dataset(
        name=path.name or path.resolve().name,
        x_train=x[:n_train],
        y_train=y[:n_train],
        x_test=x[n_train:],
        y_test=y[n_train:],
        class_names=classes,
        notes=(*notes, *_number_order(classes), *read_as, *left_out.notes()),
    )


def _check_resize(resize: tuple[int, int] | None) -> None:
    if resize is None:
        return
    for side in resize:
        check_count(side, "resize")
    if resize[0] * resize[1] > MOST_PIXELS:
        raise InvalidInputError(f"resize is {tuple(resize)}, of more than {MOST_PIXELS:,} pixels; give a smaller size")


@dataclass
class _LeftOut:
    """Entries of a folder that are not read."""

    root: Path
    hidden: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    outside: list[Path] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return one sentence for each kind of what is left out."""
        suffixes = Counter(file.suffix.lower() or "no suffix" for file in self.others)
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        return [
            *([f"hidden files and folders are left out: {self._some(self.hidden)}"] if self.hidden else []),
            *([f"files that are no images are left out: {kinds}"] if self.others else []),
            *(
                [f"images and folders outside the classes are left out: {self._some(self.outside)}"]
                if self.outside
                else []
            ),
        ]

    def _some(self, entries: list[Path]) -> str:
        names = [entry.relative_to(self.root).as_posix() for entry in entries[:4]]
        return ", ".join(names) + (f" and {len(entries) - 4} more" if len(entries) > 4 else "")


@dataclass(frozen=True)
class _Listing:
    folders: list[Path]
    images: list[Path]


def _listing(folder: Path, left_out: _LeftOut, *, outside: bool = False) -> _Listing:
    """Return the folders and images in a folder by name, and note what is neither, or lies outside the classes."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be read ({error.strerror}); make it readable") from error
    shown = [entry for entry in entries if not _is_hidden(entry)]
    folders = [entry for entry in shown if entry.is_dir()]
    files = [entry for entry in shown if not entry.is_dir()]
    strange = next((entry for entry in files if not entry.is_file()), None)
    if strange is not None:  # reading a pipe would wait forever
        raise InvalidInputError(
            f"{strange} is neither a file nor a folder, but a link that leads nowhere or round in a circle, or a "
            "device; remove it"
        )
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    left_out.hidden += [entry for entry in entries if _is_hidden(entry)]
    left_out.others += [file for file in files if file.suffix.lower() not in SUFFIXES]
    left_out.outside += images if outside else []
    return _Listing(folders, images)


def _is_hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name.lower() in _SYSTEM


def _parts(root: Path, left_out: _LeftOut) -> tuple[Path, Path | None, list[str]]:
    """Return the folders of the training and the held-out part; a folder without sub-folders is a class."""
    ignored = _LeftOut(root)
    folders = _listing(root, ignored).folders
    parts = {
        folder.name.lower(): folder
        for folder in folders
        if folder.name.lower() in _TRAINING + _HELD_OUT and _listing(folder, ignored).folders
    }
    if not parts:
        return root, None, []
    training = [parts[name] for name in _TRAINING if name in parts]
    held_out = [parts[name] for name in _HELD_OUT if name in parts]
    if len(training) != 1:
        raise InvalidInputError(
            f"{root} holds {_first(folder.name for folder in parts.values())}, {len(training) or 'none'} of them for "
            "training; name one of them train, or give the folder of one part by itself"
        )
    _listing(root, left_out, outside=True)
    left_out.outside += [folder for folder in folders if folder not in (*training, *held_out[:1])]
    notes = [f"the held-out part is {held_out[0].name}"] if held_out else []
    return training[0], held_out[0] if held_out else None, notes


def _class_files(folders: list[Path], classes: tuple[str, ...], left_out: _LeftOut) -> list[tuple[Path, int]]:
    """Return the images in the class folders of one part, each with its class."""
    unknown = sorted({folder.name for folder in folders} - set(classes))
    if unknown:
        raise InvalidInputError(
            f"{folders[0].parent} has classes that the training part lacks: {', '.join(unknown)}; remove them"
        )
    files: list[tuple[Path, int]] = []
    for folder in folders:
        inside = _listing(folder, left_out)
        if inside.folders:
            raise InvalidInputError(
                f"the class folder {folder} holds folders ({_first(entry.name for entry in inside.folders)}); put a "
                "class's images directly into its folder, or give the folder whose sub-folders are the classes"
            )
        label = classes.index(folder.name)
        files += [(file, label) for file in inside.images]
    return files


def _first(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _empty_classes(classes: tuple[str, ...], files: list[tuple[Path, int]], part: str) -> list[str]:
    filled = {label for _, label in files}
    empty = [name for label, name in enumerate(classes) if label not in filled]
    return [f"classes without {part} images: {_first(empty)}"] if empty else []


def _number_order(classes: tuple[str, ...]) -> list[str]:
    """Say where folders named by numbers are not numbered by them: 10 comes before 2."""
    if not all(name.isdecimal() for name in classes) or list(classes) == sorted(classes, key=int):
        return []
    return [f"classes are numbered in alphabetical order, not by their numbers: {_first(classes)}"]
