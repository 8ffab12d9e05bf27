"""Training and held-out data of a subject, from files and folders."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from assay.core import InvalidInputError
from assay.data import Dataset, load_image_folder, load_npz

Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Parts:
    """Training and held-out pairs with their groups, the classes' names, and notes on how the files were read."""

    train: Pairs | None = None
    test: Pairs | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    groups: Tensor | None = None
    test_groups: Tensor | None = None


def read_parts(
    train: Path | str | None,
    test: Path | str | None,
    input_range: tuple[float, float],
    dtype: torch.dtype,
    *,
    tokens: bool = False,
    resize: tuple[int, int] | None = None,
) -> Parts:
    """Read both parts; a file given for testing is numbered as the training file is.

    Args:
        train: `.npz` or a folder of images.
        test: The same for the held-out part; by default the test part of `train`, where it has one.
        input_range: Lowest and highest value of an input.
        dtype: Type of the inputs.
        tokens: Whether integer inputs are the ids of tokens; they keep their type.
        resize: Height and width that images in folders are brought to.

    Raises:
        InvalidInputError: A file cannot be read, or the two have different classes.
        MissingDataError: A file is not there.
    """
    if resize is not None and not any(path is not None and Path(path).is_dir() for path in (train, test)):
        raise InvalidInputError("--resize is for folders of images, and none is given; leave it out")
    training = None if train is None else _read(Path(train), input_range, tokens, resize)
    held_out = training if test is None else _read(Path(test), input_range, tokens, resize)
    notes: list[str] = [] if training is None else [f"training data: {note}" for note in training.notes]
    if held_out is None:
        return Parts()
    if test is not None:
        notes += [f"held-out data: {note}" for note in held_out.notes]
        if training is not None:
            held_out, renumbered = _renumbered(held_out, training.class_names)
            notes += renumbered
            if len(training.x_test):
                notes.append(f"the held-out part of {Path(str(train)).name} is left out: --test is given")
        if len(held_out.x_test):
            notes.append(f"the training part of {Path(test).name} is left out")
    return Parts(
        train=None if training is None else (_typed(training.x_train, dtype), training.y_train),
        test=_held_out(held_out, dtype, given=test is not None),
        class_names=_names((training or held_out).class_names),
        notes=tuple(notes),
        groups=None if training is None else training.groups_train,
        test_groups=held_out.groups_test if len(held_out.x_test) or test is None else held_out.groups_train,
    )


def _read(path: Path, input_range: tuple[float, float], tokens: bool, resize: tuple[int, int] | None) -> Dataset:
    if path.is_dir():
        if tuple(input_range) != (0.0, 1.0):
            raise InvalidInputError(
                f"images are read as values from 0 to 1, not {tuple(input_range)}; leave out --input-range, and put "
                "any scaling inside the model"
            )
        return load_image_folder(path, resize=resize)
    if path.exists() and path.suffix.lower() != ".npz":
        raise InvalidInputError(f"{path} is neither .npz nor a folder; save it with numpy.savez('data.npz', x=x, y=y)")
    return load_npz(path, input_range=input_range, tokens=tokens)


def _renumbered(held_out: Dataset, classes: tuple[str, ...]) -> tuple[Dataset, list[str]]:
    """Number the held-out classes as the training data do: two folders number theirs each by itself."""
    names = held_out.class_names
    if names == classes or _is_count(names) or _is_count(classes):
        return held_out, []
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise InvalidInputError(
            f"the held-out data have classes that the training data lack: {', '.join(unknown[:4])}; give both the same"
        )
    place = torch.tensor([classes.index(name) for name in names])
    same = replace(held_out, y_train=place[held_out.y_train], y_test=place[held_out.y_test], class_names=classes)
    return same, ["held-out classes are numbered as in the training data, by their names"]


def in_order_of(classes: tuple[str, ...], parts: Parts) -> Parts:
    """Number the labels as a network does, whose classes bear names: a folder of images numbers them by the alphabet.

    Names that are not the network's are kept, and so are their numbers.

    Args:
        classes: The names, in the order of the network's outputs; empty where it has none.
        parts: Data whose classes may bear names.
    """
    names = parts.class_names
    if not (names and classes) or names == classes:
        return parts
    if not set(names) <= set(classes):
        note = f"classes of the data ({', '.join(names[:3])}) have other names than the network's; numbers count"
        return replace(parts, notes=(*parts.notes, note))
    place = torch.tensor([classes.index(name) for name in names])
    train, test = (pairs and (pairs[0], place[pairs[1]]) for pairs in (parts.train, parts.test))
    note = "labels are numbered as in the network, by the names of the classes"
    return replace(parts, train=train, test=test, class_names=classes, notes=(*parts.notes, note))


def _held_out(dataset: Dataset, dtype: torch.dtype, *, given: bool) -> Pairs | None:
    """Return the held-out samples: a file's test part, or all of a file that was given for testing."""
    if not (given or len(dataset.x_test)):
        return None
    x, y = (dataset.x_test, dataset.y_test) if len(dataset.x_test) else (dataset.x_train, dataset.y_train)
    return _typed(x, dtype), y


def _typed(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def _is_count(names: tuple[str, ...]) -> bool:
    """Return whether names are only the labels' numbers again."""
    return names == tuple(map(str, range(len(names))))


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    return () if all(name.isdigit() for name in names) else names
