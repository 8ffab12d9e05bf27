"""Input checks, with messages that say what was given, what is needed and how to mend it."""

import math
from collections.abc import Iterable
from numbers import Integral

import torch
from torch import Tensor, nn

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


def check_model(model: nn.Module) -> None:
    """Require a module with finite parameters.

    Raises:
        InvalidInputError: It is no module, has no parameters, or some are NaN or infinite.
    """
    if not isinstance(model, nn.Module):
        raise InvalidInputError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; wrap a function in a Module"
        )
    parameters = list(model.named_parameters())
    if not parameters:
        raise InvalidInputError("model has no parameters; pass a trained network")
    broken = [name for name, value in parameters if not torch.isfinite(value).all()]
    if broken:
        raise InvalidInputError(
            f"weights of the model are NaN or infinite ({', '.join(broken[:4])}); "
            "training diverged or the file is damaged: load a healthy checkpoint"
        )


def check_logits(model: nn.Module, x: Tensor) -> Tensor:
    """Require one row of finite scores for one sample, and return it with shape (1, c).

    Raises:
        InvalidInputError: The sample does not fit the model, or the output is not one row of scores.
        NumericalError: The scores are NaN or infinite.
    """
    from assay.core.parameters import preserved

    check_samples(x)
    with preserved(model), torch.no_grad():
        try:
            logits = model(x[:1])
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InvalidInputError(
                f"the model does not accept a sample of shape {tuple(x.shape[1:])} and dtype {x.dtype} ({reason}); "
                "reshape the data to what the first layer expects"
            ) from error
    if not isinstance(logits, Tensor) or logits.ndim not in (1, 2) or len(logits) != 1:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidInputError(f"the model must return scores of shape (n, c), got {got}; wrap it so that it does")
    if not torch.isfinite(logits).all():
        raise NumericalError("the model gives NaN or infinite scores on the first sample; check its weights and inputs")
    return logits.reshape(1, -1)


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
