"""Losses as functions of logits and targets, all means over the batch."""

from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core.checks import signs
from assay.core.errors import InvalidInputError

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function `(logits, targets) -> scalar`: the mean over the batch of a loss per sample."""


def cross_entropy(logits: Float[Tensor, "n c *t"], y: Shaped[Tensor, "n *t"]) -> Float[Tensor, ""]:
    r"""Compute the softmax cross-entropy $-\frac1n\sum_i \log p_{y_i}(x_i)$.

    Args:
        logits: Class scores, of shape `(n, c)`, or `(n, c, t)` for a label at each of t places.
        y: Class indices in `0..c-1`, integers of any width, of shape `(n,)`, `(n, 1)` or `(n, t)`.

    Raises:
        InvalidInputError: The labels do not fit the scores.

    >>> import torch
    >>> round(cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp().item(), 4)
    4.0
    """
    labels = class_targets(logits, y)
    try:
        return F.cross_entropy(logits, labels)
    except IndexError as error:
        raise InvalidInputError(
            f"y holds labels from {int(labels.min())} to {int(labels.max())}, but there are {logits.shape[1]} scores; "
            f"relabel the classes as 0..{logits.shape[1] - 1}"
        ) from error


def binary_cross_entropy(logits: Float[Tensor, "n *one"], y: Shaped[Tensor, "n *column"]) -> Float[Tensor, ""]:
    r"""Compute the logistic loss $\frac1n\sum_i \log(1 + e^{-s_i f(x_i)})$ of a single-logit network.

    Args:
        logits: Scores of the positive class, of shape `(n,)` or `(n, 1)`.
        y: Labels in {0, 1} or in {-1, 1}, of any type and of shape `(n,)` or `(n, 1)`.

    Raises:
        InvalidInputError: The labels are others, or not as many as the scores.

    >>> import torch
    >>> binary_cross_entropy(torch.zeros(2, 1), torch.tensor([[0], [1]])).exp().item()
    2.0
    """
    scores, labels = single_logit(logits), signs(y)
    check_lengths(scores, labels)
    return F.softplus(-labels.to(scores) * scores).mean()


def squared_error(outputs: Float[Tensor, "n *c"], targets: Shaped[Tensor, "n *k"]) -> Float[Tensor, ""]:
    r"""Compute $\frac1n\sum_i \lVert f(x_i) - y_i\rVert^2$, summed over outputs and averaged over samples.

    Args:
        outputs: Outputs of the network.
        targets: As many numbers a sample.

    Raises:
        InvalidInputError: The targets do not fit the outputs.

    >>> import torch
    >>> squared_error(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 0.0])).item()
    5.0
    """
    difference = outputs - paired_targets(outputs, targets)
    return difference.reshape(len(outputs), -1).square().sum(1).mean()


def single_logit(logits: Float[Tensor, "n *one"]) -> Float[Tensor, " n"]:
    """Return the scores of a network with one output as a flat vector.

    Raises:
        InvalidInputError: The network has more than one output.

    >>> import torch
    >>> single_logit(torch.zeros(3, 1)).shape
    torch.Size([3])
    """
    if logits.ndim not in (1, 2) or (logits.ndim == 2 and logits.shape[1] != 1):
        raise InvalidInputError(
            f"a binary objective needs one logit per sample, got outputs of shape {tuple(logits.shape)}; "
            "use cross-entropy (the multiclass objective) for a network with several outputs"
        )
    return logits.reshape(-1)


def class_targets(logits: Float[Tensor, "n c *t"], y: Shaped[Tensor, "n *k"]) -> Shaped[Tensor, "n *out"]:
    """Return class labels in the shape and type that `torch.nn.functional.cross_entropy` takes.

    Integers of any width become int64 and an axis of one class is dropped; targets of the scores' own shape and
    floating point are class probabilities and pass. Only shapes and types are looked at.

    Raises:
        InvalidInputError: The labels do not fit the scores.
    """
    check_lengths(logits, y)
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise InvalidInputError(
            f"cross-entropy needs a score for each class, got outputs of shape {tuple(logits.shape)}; "
            "use binary_cross_entropy for a network with one score a sample"
        )
    if y.is_floating_point() and y.shape == logits.shape:
        return y.to(logits.dtype)
    wanted = (logits.shape[0], *logits.shape[2:])
    labels = y.squeeze(1) if y.ndim == logits.ndim and y.shape[1] == 1 else y
    if y.is_floating_point() or y.is_complex() or labels.shape != wanted:
        one_hot = y.shape == logits.shape
        last = logits.ndim == 3 and y.shape == logits.shape[:2]
        mend = (
            "use y.argmax(1)"
            if one_hot
            else "move the classes to axis 1 with outputs.movedim(-1, 1)"
            if last
            else "use y.long()"
            if labels.shape == wanted
            else f"pass integer labels of shape {wanted}"
        )
        raise InvalidInputError(
            f"cross-entropy of outputs of shape {tuple(logits.shape)} needs integer class labels, "
            f"got {y.dtype} of shape {tuple(y.shape)}; {mend}"
        )
    return labels.long()


def paired_targets(outputs: Float[Tensor, "n *c"], targets: Shaped[Tensor, "n *k"]) -> Float[Tensor, "n *c"]:
    """Return targets in the shape and type of the outputs, where the two agree up to axes of one entry.

    Targets or outputs that are flat, of shape `(n, d)`, match whatever has d entries a sample.

    Raises:
        InvalidInputError: They do not agree; nothing is broadcast.
    """
    check_lengths(outputs, targets)
    mine, theirs = ([size for size in value.shape[1:] if size != 1] for value in (outputs, targets))
    flat = len(mine) < 2 or len(theirs) < 2
    if targets.is_complex() or outputs.numel() != targets.numel() or (mine != theirs and not flat):
        classes = targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 1
        raise InvalidInputError(
            f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} do not pair up; "
            + ("F.one_hot(y) turns class labels into targets" if classes else "pass a target for each output")
        )
    return targets.reshape(outputs.shape).to(outputs)


def check_lengths(outputs: Tensor, y: Tensor) -> None:
    """Require outputs and targets of as many samples, at least one.

    Raises:
        InvalidInputError: They are not.
    """
    if outputs.ndim == 0 or y.ndim == 0 or len(outputs) != len(y) or len(y) == 0:
        raise InvalidInputError(
            f"outputs and targets must be as many and at least one, got outputs of shape {tuple(outputs.shape)} and "
            f"targets of shape {tuple(y.shape)}; align the two"
        )
