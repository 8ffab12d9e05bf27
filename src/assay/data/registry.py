"""Data sets by name."""

import os
from pathlib import Path

from assay.core import InvalidInputError, MissingDataError
from assay.data.dataset import Dataset
from assay.data.embedded import load_fashion, load_tabular
from assay.data.local import load_cifar10, load_fashion_mnist, load_mnist

_EMBEDDED = {
    "breast-cancer": lambda: load_tabular("breast-cancer"),
    "digits": lambda: load_tabular("digits"),
    "fashion": load_fashion,
    "iris": lambda: load_tabular("iris"),
    "wine": lambda: load_tabular("wine"),
}
_LOCAL = {"cifar10": load_cifar10, "fashion-mnist": load_fashion_mnist, "mnist": load_mnist}


def names() -> tuple[str, ...]:
    """List the names of all data sets.

    >>> names()
    ('breast-cancer', 'cifar10', 'digits', 'fashion', 'fashion-mnist', 'iris', 'mnist', 'wine')
    """
    return tuple(sorted((*_EMBEDDED, *_LOCAL)))


def load(name: str, root: str | Path | None = None) -> Dataset:
    """Load a data set by name.

    `breast-cancer`, `digits`, `fashion`, `iris` and `wine` come with the package and its dependencies. `mnist`,
    `fashion-mnist` and `cifar10` are read from files on this machine; nothing is ever downloaded. Their images are kept
    as bytes or in their files until a part, `x_train` or `x_test`, is first asked for.

    Args:
        name: One of `names()`.
        root: Folder of the local sets, with one sub-folder each; the environment variable `ASSAY_DATA` when None.
            Embedded sets do not need it.

    Returns:
        Samples as float32 in `[0, 1]`, images as `(n, channels, height, width)`, labels as int64.

    Raises:
        InvalidInputError: The name is unknown, or a file is damaged.
        MissingDataError: The files are missing; the message says where they belong and where to get them.

    >>> load("digits")
    Dataset('digits': 1347 training and 450 test samples of 1x8x8, 10 classes)
    """
    if name in _EMBEDDED:
        return _EMBEDDED[name]()
    if name not in _LOCAL:
        raise InvalidInputError(f"there is no data set named {name!r}; choose one of: {', '.join(names())}")
    folder = root if root is not None else os.environ.get("ASSAY_DATA")
    return _LOCAL[name](Path(folder) if folder else None)


def available(name: str, instead: str = "fashion", root: str | Path | None = None) -> str:
    """Return a data set's name if its files are on this machine, else the name of an embedded set.

    Args:
        name: Preferred set.
        instead: Set to use if the preferred one is missing.
        root: As for `load`.

    Raises:
        InvalidInputError: The name is unknown, or a file is damaged.

    >>> available("digits"), available("mnist", root="no such folder")
    ('digits', 'fashion')
    """
    try:
        load(name, root)
    except MissingDataError:
        return instead
    return name
