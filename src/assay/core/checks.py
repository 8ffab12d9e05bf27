"""Input checks, with messages that say what was given, what is needed and how to mend it."""

import math
from collections.abc import Iterable
from numbers import Integral

import torch
from jaxtyping import Int64, Num, Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from assay.core.errors import InvalidInputError, NumericalError


def check_samples(x: Tensor, name: str = "x", *, tokens: bool = False) -> Tensor:
    """Require a non-empty batch of finite floating-point samples, and return it without a graph.

    Args:
        x: Samples, of shape `(n, ...)`. A tensor made under `torch.inference_mode` is copied.
        name: What the message calls them.
        tokens: Whether integers pass as well, as a network of tokens reads them.

    Raises:
        InvalidInputError: `x` is not such a batch.

    >>> check_samples(torch.ones(2, 3, requires_grad=True)).requires_grad
    False
    """
    _check_tensor(x, name)
    if x.is_complex():
        raise InvalidInputError(f"{name} must be real, got {x.dtype}; use torch.view_as_real")
    if x.dtype == torch.bool or not (x.is_floating_point() or tokens):
        raise InvalidInputError(
            f"{name} must be floating point, got {x.dtype}; convert it with {name}.float(), "
            "and give a network that reads tokens their embeddings: integers have no gradient"
        )
    if x.ndim < 2 or x.numel() == 0:
        raise InvalidInputError(
            f"{name} must be a non-empty batch of shape (n, ...), got shape {tuple(x.shape)}; "
            "pass at least one sample, with a leading batch axis"
        )
    if not torch.isfinite(x).all():
        raise InvalidInputError(f"{name} holds NaN or infinite values; clean the data before passing it")
    return without_graph(x)


def check_pairs(x: Tensor, y: Tensor, *, tokens: bool = False) -> tuple[Tensor, Tensor]:
    """Require non-empty inputs and as many finite targets as inputs, and return both without a graph.

    The targets keep their shape and type: what they mean is known to the loss, see `check_labels` and `signs`.

    Args:
        x: Inputs, of shape `(n, ...)`.
        y: Targets, of shape `(n, ...)`.
        tokens: Whether integer inputs pass as well.

    Raises:
        InvalidInputError: `x` is empty, or `y` has another length, lies on another device, is complex or
            not finite.

    >>> x, y = check_pairs(torch.ones(2, 3), torch.tensor([[0], [1]], dtype=torch.uint8))
    >>> y.shape, y.dtype
    (torch.Size([2, 1]), torch.uint8)
    """
    x = check_samples(x, tokens=tokens)
    _check_tensor(y, "y")
    if y.ndim == 0 or len(y) != len(x):
        raise InvalidInputError(
            f"y must hold one target for each of the {len(x)} samples, got shape {tuple(y.shape)}; align x and y"
        )
    if y.is_complex():
        raise InvalidInputError(f"y must be real, got {y.dtype}; use torch.view_as_real")
    if y.device != x.device:
        raise InvalidInputError(f"x lies on {x.device} and y on {y.device}; move y with y.to(x.device)")
    if y.numel() == 0 or not torch.isfinite(y).all():
        raise InvalidInputError("y holds NaN, infinite or no values; clean the data before passing it")
    return x, without_graph(y)


def check_labels(y: Tensor, n_classes: int, name: str = "y") -> Int64[Tensor, " n"]:
    """Require class indices in `0..n_classes - 1`, and return them as a vector of int64.

    Inside `torch.func.vmap`, where values cannot be read, the range is not checked.

    Args:
        y: Integers of any width or booleans, of shape `(n,)` or `(n, 1)`.
        n_classes: Scores that the network gives.
        name: What the message calls the labels.

    Raises:
        InvalidInputError: A label is out of that range or not an integer, or there is a single class.

    >>> check_labels(torch.tensor([[2], [0]], dtype=torch.uint8), 3).tolist()
    [2, 0]
    """
    _check_tensor(y, name)
    if y.is_floating_point() or y.is_complex() or not (y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)):
        raise InvalidInputError(
            f"{name} must be a vector of integer class indices, got {y.dtype} of shape {tuple(y.shape)}; "
            + _label_mend(y, name)
        )
    if n_classes < 2:
        raise InvalidInputError(
            f"{name} are class labels, and the method needs one score for each class, but the network has {n_classes} "
            "output; wrap it so that it gives two: torch.cat([torch.zeros_like(score), score], 1)"
        )
    labels = y.reshape(-1).long()
    if len(labels) == 0:
        raise InvalidInputError(f"{name} holds no label; pass a non-empty vector of class indices")
    if values_are_known(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise InvalidInputError(_out_of_range(labels, n_classes, name))
    return labels


def signs(y: Shaped[Tensor, "n *one"]) -> Num[Tensor, " n"]:
    """Map binary labels, in {0, 1} or already in {-1, 1}, to {-1, 1}.

    Inside `torch.func.vmap`, where values cannot be read, any other label becomes NaN.

    Args:
        y: Labels of any type, of shape `(n,)` or `(n, 1)`.

    Returns:
        The signs: floating point where the labels are, else int64.

    Raises:
        InvalidInputError: Any label is something else.

    >>> signs(torch.tensor([0, 1])).tolist()
    [-1, 1]
    """
    if not isinstance(y, Tensor) or not (y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)):
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InvalidInputError(f"binary labels must be a vector, one a sample, got {got}; pass a tensor of shape (n,)")
    labels = y.reshape(-1)
    if not labels.is_floating_point():
        labels = labels.long()
    positive, negative, zero = labels == 1, labels == -1, labels == 0
    if not values_are_known(labels):
        known = torch.where(positive, 1.0, torch.where(negative | zero, -1.0, math.nan))
        return known.to(labels.dtype if labels.is_floating_point() else torch.get_default_dtype())
    if (positive | zero).all():
        return 2 * labels - 1
    if (positive | negative).all():
        return labels
    raise InvalidInputError(
        f"binary labels must be 0 and 1, or -1 and 1; got {labels.unique().tolist()[:8]}; relabel them first"
    )


def values_are_known(values: Tensor) -> bool:
    """Tell whether values can be read: inside `torch.func.vmap` they cannot."""
    try:
        bool(values.isfinite().all())
    except RuntimeError:
        return False
    return True


def without_graph(value: Tensor) -> Tensor:
    """Return a tensor detached, or a copy of one made under `torch.inference_mode`, which takes part in no graph."""
    if value.is_inference():
        with torch.inference_mode(False):
            return value.clone()
    return value.detach()


def _check_tensor(value: object, name: str) -> None:
    if not isinstance(value, Tensor):
        loader = isinstance(value, (DataLoader, Dataset))
        mend = "collect its samples with torch.stack or torch.cat" if loader else "use torch.as_tensor"
        raise InvalidInputError(f"{name} must be a torch.Tensor, got {type(value).__name__}; {mend}")
    if value.layout != torch.strided or value.is_quantized:
        raise InvalidInputError(
            f"{name} must be a dense tensor, got {value.dtype} of layout {value.layout}; "
            f"convert it with {name}.to_dense() or {name}.dequantize()"
        )
    if value.is_meta:
        raise InvalidInputError(f"{name} lies on the meta device and has no values; load the data first")


def _label_mend(y: Tensor, name: str) -> str:
    if y.ndim == 2 and y.shape[1] > 1:
        return f"use {name}.argmax(1) where each row is one-hot or holds probabilities"
    if y.ndim > 2 or y.ndim == 0:
        return "pass one label for each sample"
    if values_are_known(y) and not y.is_complex() and (y == y.round()).all():
        return f"use {name}.long().flatten()"
    return "numbers that are not whole belong to regression: use assay.core.squared_error"


def _out_of_range(labels: Tensor, n_classes: int, name: str) -> str:
    low, high = int(labels.min()), int(labels.max())
    if low == -1 and n_classes == 2 and high <= 1 and not (labels == 0).any():
        mend = f"labels of -1 and 1 become classes with ({name} + 1) // 2"
    elif low == -100 and high < n_classes:
        mend = f"-100 marks samples without a label: pass the others only, x[{name} != -100] and {name}[{name} != -100]"
    elif low >= 0 and high == 255 and (labels[labels != 255] < n_classes).all():
        mend = "where 255 marks places without a label, use nn.CrossEntropyLoss(ignore_index=255)"
    else:
        mend = f"relabel the classes as 0..{n_classes - 1}"
    return f"{name} holds labels from {low} to {high}, but the network has {n_classes} outputs; {mend}"


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
