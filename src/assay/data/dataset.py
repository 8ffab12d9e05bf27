"""Classification data set with training and test samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int, Shaped
from torch import Tensor

from assay.core import InvalidInputError, check_labels, check_pairs


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Classification data set; it is checked on construction.

    Attributes:
        name: Name in reports.
        x_train: Training samples; images have shape `(n, channels, height, width)`. Integers are ids of tokens.
        y_train: Their classes, int64 indices into `class_names`.
        x_test: Test samples of the same shape each; may be empty where the source has no test part.
        y_test: Their classes.
        input_range: Lowest and highest value of a sample that is no token.
        class_names: One name for each class, in the order of the labels.
        notes: How a reader understood the files where they could be read otherwise, and what it left out.
        groups_train: Group of each training sample, a whole number; None where it is not known.
        groups_test: Group of each test sample.

    Raises:
        InvalidInputError: Samples are empty, not finite or out of range, or labels do not fit them.

    >>> import torch
    >>> x, y = torch.eye(2), torch.tensor([0, 1])
    >>> Dataset("coin", x, y, x, y, class_names=("heads", "tails"))
    Dataset('coin': 2 training and 2 test samples of 2, 2 classes)
    """

    name: str
    x_train: Shaped[Tensor, "n_train ..."]
    y_train: Int[Tensor, " _"]  # lengths are compared below, so that users read a sentence
    x_test: Shaped[Tensor, "n_test ..."]
    y_test: Int[Tensor, " _"]
    input_range: tuple[float, float] = (0.0, 1.0)
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    groups_train: Int[Tensor, " _"] | None = None
    groups_test: Int[Tensor, " _"] | None = None

    def __post_init__(self) -> None:
        if not self.class_names:
            raise InvalidInputError(
                f"class_names of {self.name!r} is empty; name every class, in the order of the labels"
            )
        low, high = self.input_range
        if low > high:
            raise InvalidInputError(
                f"input_range of {self.name!r} is ({low:g}, {high:g}), which is reversed; give ({high:g}, {low:g})"
            )
        if not low < high:
            raise InvalidInputError(f"input_range of {self.name!r} is ({low:g}, {high:g}); give (lowest, highest)")
        if self.x_test.shape[1:] != self.x_train.shape[1:]:
            raise InvalidInputError(
                f"a test sample of {self.name!r} has shape {tuple(self.x_test.shape[1:])}, a training sample "
                f"{tuple(self.x_train.shape[1:])}; bring both to one shape"
            )
        self._check_part(self.x_train, self.y_train, "train")
        if len(self.x_test) or len(self.y_test):
            self._check_part(self.x_test, self.y_test, "test")
        for part, groups in (("train", self.groups_train), ("test", self.groups_test)):
            n = len(getattr(self, f"y_{part}"))
            if groups is not None and len(groups) != n:
                raise InvalidInputError(
                    f"groups_{part} of {self.name!r} holds {len(groups)} groups for {n} samples; give one a sample"
                )

    @classmethod
    def undecoded(
        cls,
        name: str,
        train: tuple[Callable[[], Tensor], Int[Tensor, " n_train"]],
        test: tuple[Callable[[], Tensor], Int[Tensor, " n_test"]],
        *,
        class_names: tuple[str, ...],
    ) -> "Dataset":
        """Build a data set whose samples are decoded when they are first asked for, each part by itself.

        Args:
            name: Name in reports.
            train: Function that returns the training samples, and their classes.
            test: The same of the test part.
            class_names: As for the data set.

        >>> import torch
        >>> x, y = torch.eye(2), torch.tensor([0, 1])
        >>> data = Dataset.undecoded("coin", (lambda: x, y), (lambda: x, y), class_names=("heads", "tails"))
        >>> data.x_test.shape
        torch.Size([2, 2])
        """
        data = object.__new__(cls)
        fields = {"name": name, "y_train": train[1], "y_test": test[1], "class_names": class_names}
        for field, value in (fields | {"_decoders": {"x_train": train[0], "x_test": test[0]}}).items():
            object.__setattr__(data, field, value)
        object.__setattr__(data, "input_range", (0.0, 1.0))
        object.__setattr__(data, "notes", ())
        return data

    def __getattr__(self, name: str) -> Any:
        """Decode the samples of a part."""
        if name not in self.__dict__.get("_decoders", {}):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        part = name.removeprefix("x_")
        self._check_part(self._decoders[name](), getattr(self, f"y_{part}"), part)
        return self.__dict__[name]

    def _check_part(self, x: Tensor, y: Tensor, part: str) -> None:
        x, y = check_pairs(x, y, tokens=True)
        if not y.is_floating_point() and int(y.max()) >= self.n_classes:
            raise InvalidInputError(
                f"y_{part} of {self.name!r} holds labels from {int(y.min())} to {int(y.max())}, but there are "
                f"{self.n_classes} class_names; name every class from 0, or relabel them"
            )
        y = check_labels(y, max(self.n_classes, 2), f"y_{part}")  # a folder of one class is a data set, too
        object.__setattr__(self, f"x_{part}", x)
        object.__setattr__(self, f"y_{part}", y)
        low, high = self.input_range
        if x.is_floating_point() and (x.min() < low or x.max() > high):
            raise InvalidInputError(
                f"x_{part} of {self.name!r} holds values from {float(x.min()):g} to {float(x.max()):g}, outside its "
                f"input_range ({low:g}, {high:g}); rescale the samples or widen input_range"
            )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.x_train.shape[1:]))
        return (
            f"Dataset({self.name!r}: {len(self.x_train)} training and {len(self.x_test)} test samples of {shape}, "
            f"{self.n_classes} classes)"
        )
