"""Trial of any loss as a plain mean over samples."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.core.errors import AssayError, InvalidInputError
from assay.core.parameters import first_line
from assay.core.seeding import isolated_rng

_ALONE = 32  # samples tried one by one
_TOGETHER = 1024  # samples tried in two parts, to meet every label
_ENTRIES = 2**22  # outputs held at most


def tried_mean(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss as a mean over samples, after a trial on outputs and targets.

    The trial pairs the outputs with targets that cover the labels, and asks that the loss of all, and its gradient in
    the outputs, is the mean over two unequal parts and over single samples. Integer targets of any width are passed as
    int64; a column `(n, 1)` is flattened where the loss does not take it. A loss that fails on one sample alone, as
    after ``outputs.squeeze()``, is given the sample twice.

    Args:
        loss: Loss of outputs and targets, a number or a tensor to be averaged.
        outputs: Outputs of some samples.
        y: Targets of all samples.

    Raises:
        InvalidInputError: The loss fails, or is no mean over samples.
    """
    if isinstance(loss, type) or not callable(loss):
        got = f"the class {loss.__name__}" if isinstance(loss, type) else type(loss).__name__
        raise InvalidInputError(
            f"loss must be a function of outputs and targets, got {got}; pass an object such as nn.CrossEntropyLoss()"
        )
    at_most = max(8, min(_TOGETHER, _ENTRIES // max(1, outputs[0].numel())))
    chosen = _covering(y, at_most)
    outputs = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
    outputs = outputs.detach()[torch.arange(len(chosen), device=outputs.device) % len(outputs)]
    failed: list[InvalidInputError] = []
    for flat in (False, True) if y.ndim == 2 and y.shape[1] == 1 else (False,):
        for twice in (False, True):
            mean = partial(_mean, loss, flat=flat, twice=twice)
            try:
                with torch.inference_mode(False), torch.enable_grad(), isolated_rng(0), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of broadcasting, which the trial sees by itself
                    _try(mean, outputs, y[chosen])
                return mean
            except InvalidInputError as error:
                failed.append(error)
    raise failed[0]


def _mean(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor, *, flat: bool, twice: bool) -> Tensor:
    if flat:
        y = y.reshape(-1)
    if twice and len(y) == 1:
        outputs, y = torch.cat([outputs, outputs]), torch.cat([y, y])
    return averaged(loss, outputs, y)


def averaged(loss: Callable[[Any, Tensor], Tensor], outputs: Any, y: Tensor) -> Tensor:
    """Return the loss as one number, of integer targets as int64; booleans may be a mask and stay.

    Raises:
        InvalidInputError: The loss returns no floating-point tensor.
    """
    keep = y.is_floating_point() or y.is_complex() or y.dtype == torch.bool
    value = loss(outputs, y if keep else y.long())
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise InvalidInputError(f"the loss must return a floating-point tensor, got {got}; wrap it so that it does")
    return value.mean()


def _try(mean: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor) -> None:
    with refused(outputs, y):
        whole, again = mean(outputs.clone(), y), mean(outputs.clone(), y)
    if not torch.isfinite(whole):
        raise InvalidInputError(f"the loss of {len(y)} samples is {whole.item()}; check outputs, targets and loss")
    if not torch.equal(whole, again):
        raise InvalidInputError("the loss draws random numbers: two calls differ; fix what it draws before passing it")
    third = (len(y) + 2) // 3
    _compare(mean, outputs, y, [third, len(y) - third] if len(y) > third else [third])
    few = min(len(y), _ALONE)
    _compare(mean, outputs[:few], y[:few], [1] * few)


def _compare(mean: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor, sizes: list[int]) -> None:
    """Compare the loss of all samples, and its gradient, with the mean over parts."""
    outputs = outputs.clone().requires_grad_()
    parts = zip(outputs.split(sizes), y.split(sizes), strict=True)
    with refused(outputs[: min(sizes)], y[: min(sizes)]):
        whole = mean(outputs.clone(), y)
        values = torch.stack([mean(some.clone(), targets) for some, targets in parts])
    average = (torch.tensor(sizes, dtype=values.dtype, device=values.device) / len(y) * values).sum()
    if _near(whole, average, values):
        if _near(_slope(whole, outputs), _slope(average, outputs)):
            return
        found = "the gradient of the loss is not the mean of the gradients"
    elif _near(whole, values.sum(), values):
        raise InvalidInputError("the loss sums over samples, but a mean is needed; build it with reduction='mean'")
    else:
        found = f"{whole.item():.6g} is not their mean {average.item():.6g}"
    raise InvalidInputError(
        f"the loss is no mean over samples: of {len(y)}, with outputs of shape {tuple(outputs.shape)} and targets of "
        f"shape {tuple(y.shape)}, against parts of {' and '.join(map(str, sorted(set(sizes))))}, {found}; pass a loss "
        "that averages one value a sample, or nn.CrossEntropyLoss(weight=..., ignore_index=...) itself, whose weights "
        "are then taken into account"
    )


def _slope(value: Tensor, outputs: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(outputs)
    return torch.autograd.grad(value, outputs, materialize_grads=True, retain_graph=True)[0]


def _near(one: Tensor, other: Tensor, *scale: Tensor) -> bool:
    size = max(float(value.abs().max()) for value in (one, other, *scale))
    return float((one - other).abs().max()) <= 1e3 * torch.finfo(one.dtype).eps * size  # False where it is NaN


@contextmanager
def refused(outputs: Any, y: Tensor) -> Iterator[None]:
    """Turn what a user's loss raises into one sentence."""
    try:
        yield
    except (AssayError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a loss may raise anything
        shape = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"type {type(outputs).__name__}"
        raise InvalidInputError(
            f"the loss fails on outputs of {shape} and {y.dtype} targets of shape {tuple(y.shape)} "
            f"({first_line(error)}); pass targets that it takes, or a loss that works on every number of samples"
        ) from error


def _covering(y: Tensor, at_most: int) -> Tensor:
    """Return places of samples, those first that bring a new label."""
    order = torch.arange(len(y), device=y.device)
    if not (y.is_floating_point() or y.is_complex()):
        values, which = y.long().unique(return_inverse=True)
        first = torch.full((len(values),), len(y), device=y.device)
        places = order.repeat_interleave(y[0].numel())
        first = first.scatter_reduce(0, which.flatten(), places, "amin").unique()
        order = torch.cat([first, order[~torch.isin(order, first)]])
    if len(order) <= at_most:
        return order
    return order[torch.linspace(0, len(order) - 1, at_most, device=y.device).long()]
