"""Input checks, with messages that say what was given, what is needed and how to mend it."""

import math
from collections.abc import Iterable
from numbers import Integral

import torch
from torch import Tensor

from assay.core.errors import InvalidInputError, NumericalError


def check_samples(x: Tensor, name: str = "x") -> None:
    """Require a non-empty batch of finite floating-point samples.

    Raises:
        InvalidInputError: `x` is not such a batch.
    """
    if not isinstance(x, Tensor):
        raise InvalidInputError(f"{name} must be a torch.Tensor, got {type(x).__name__}; use torch.as_tensor")
    if not x.is_floating_point():
        raise InvalidInputError(f"{name} must be floating point, got {x.dtype}; convert it with {name}.float()")
    if x.ndim < 2 or x.numel() == 0:
        raise InvalidInputError(
            f"{name} must be a non-empty batch of shape (n, ...), got shape {tuple(x.shape)}; "
            "pass at least one sample, with a leading batch axis"
        )
    if not torch.isfinite(x).all():
        raise InvalidInputError(f"{name} holds NaN or infinite values; clean the data before passing it")


def check_pairs(x: Tensor, y: Tensor) -> None:
    """Require non-empty inputs and as many targets as inputs.

    Raises:
        InvalidInputError: `x` is empty, or `y` has another length.
    """
    check_samples(x)
    if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(x):
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise InvalidInputError(f"y must hold one target for each of the {len(x)} samples, got {got}; align x and y")


def check_labels(y: Tensor, n_classes: int, name: str = "y") -> None:
    """Require integer class indices in `0..n_classes - 1`.

    Raises:
        InvalidInputError: A label is out of that range or not an integer.
    """
    if y.is_floating_point() or y.is_complex() or y.ndim != 1:
        raise InvalidInputError(
            f"{name} must be a vector of integer class indices, got {y.dtype} of shape {tuple(y.shape)}; "
            f"use {name}.long().flatten()"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= n_classes:
        raise InvalidInputError(
            f"{name} holds labels from {low} to {high}, but the network has {n_classes} outputs; "
            f"relabel the classes as 0..{n_classes - 1}"
        )


def check_positive(value: float, name: str) -> None:
    """Require a finite number above zero.

    Raises:
        InvalidInputError: It is not.
    """
    if not (math.isfinite(value) and value > 0):
        raise InvalidInputError(f"{name} must be a positive number, got {value!r}")


def check_count(value: int, name: str, *, at_least: int = 1) -> None:
    """Require a whole number of at least `at_least`.

    Raises:
        InvalidInputError: It is smaller, or no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise InvalidInputError(f"{name} must be a whole number of at least {at_least}, got {value!r}")


def check_choice(value: object, choices: Iterable[object], name: str) -> None:
    """Require one of the given choices.

    Raises:
        InvalidInputError: It is none of them.
    """
    choices = list(choices)
    if value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_fraction(value: float, name: str) -> None:
    """Require a number strictly between zero and one.

    Raises:
        InvalidInputError: It is not.
    """
    if not 0 < value < 1:
        raise InvalidInputError(f"{name} must lie strictly between 0 and 1, got {value!r}")


def check_finite(value: Tensor, what: str) -> None:
    """Require a finite result.

    Raises:
        NumericalError: Some entry is NaN or infinite.
    """
    if not torch.isfinite(value).all():
        raise NumericalError(f"{what} came out NaN or infinite; try float64 inputs and weights, or rescale them")
