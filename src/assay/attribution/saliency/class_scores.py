"""Class scores that a map explains: the logit or the log-probability of each sample's class."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, check_labels, check_outputs, check_samples, is_probabilities

Target: TypeAlias = int | Sequence[int] | Tensor | None
Score: TypeAlias = Literal["logit", "log_probability"]

SCORES = ("logit", "log_probability")


def class_rows(outputs: Shaped[Tensor, "n *c"], target: Target) -> tuple[Tensor, Target]:
    """Return one row of scores a sample, and what of the target is the class.

    A tuple indexes the axes of the outputs behind the first, the class last, as for networks that score a class at each
    position.

    Raises:
        InvalidInputError: The outputs have other axes than the target.
    """
    if isinstance(target, tuple):
        if len(target) != outputs.ndim - 1:
            raise InvalidInputError(
                f"target {target} indexes {len(target)} axes, and outputs of shape {tuple(outputs.shape)} have "
                f"{outputs.ndim - 1} behind the first; give one index for each"
            )
        outputs, target = outputs[(slice(None), *target[:-1])], int(target[-1])
    if outputs.ndim > 2:
        raise InvalidInputError(
            f"the model gives outputs of shape {tuple(outputs.shape)}; give target as a tuple of one index for each "
            "axis behind the first, such as (position, class)"
        )
    rows = outputs.reshape(len(outputs), -1)
    if is_probabilities(rows.detach()):
        raise InvalidInputError(
            "the model returns probabilities, and the gradient of a logit is explained; take the softmax off, or wrap "
            "it: nn.Sequential(model, assay.core.LogProbabilities())"
        )
    return rows, target


def read_classes(rows: Float[Tensor, "n c"], target: Target) -> Tensor:
    """Return the class of each sample: the target, or that of the highest score.

    Raises:
        InvalidInputError: The target is not one class, or one for each sample.
    """
    n, c = rows.shape
    if target is None:
        return (rows[:, 0] > 0).long() if c == 1 else rows.argmax(1)
    if isinstance(target, bool) or not isinstance(target, (int, Tensor, list)):
        raise InvalidInputError(f"target must be a class, one for each sample, or None, got {type(target).__name__}")
    given = torch.as_tensor(target, device=rows.device)
    labels = check_labels(given.expand(n) if given.ndim == 0 else given, max(c, 2), "target")
    if len(labels) != n:
        raise InvalidInputError(f"target has {len(labels)} classes for {n} samples; give one for each, or a single one")
    return labels.clone()  # labels made in inference mode take part in no graph


def log_probability(rows: Float[Tensor, "n c"], classes: Tensor) -> Float[Tensor, " n"]:
    """Return the logarithm of each sample's class probability; its gradient does not vanish at probability 1."""
    if rows.shape[1] == 1:
        return F.logsigmoid((2 * classes - 1).to(rows) * rows[:, 0])
    others = rows.scatter(1, classes[:, None], float("-inf")).logsumexp(1)
    return F.logsigmoid(rows.gather(1, classes[:, None])[:, 0] - others)


def class_score(rows: Float[Tensor, "n c"], classes: Tensor, score: Score) -> Float[Tensor, " n"]:
    """Return the score of each sample's class."""
    if score == "log_probability":
        return log_probability(rows, classes)
    if rows.shape[1] == 1:
        return (2 * classes - 1).to(rows) * rows[:, 0]
    return rows.gather(1, classes[:, None])[:, 0]


def read_inputs(model: nn.Module, inputs: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Return checked samples, and the class of each where the target names classes.

    Raises:
        InvalidInputError: The model, inputs or target are unusable.
    """
    x = check_samples(inputs, "inputs", tokens=True)
    rows, at_class = class_rows(check_outputs(model, x), target)
    if target is None or isinstance(target, tuple):
        if isinstance(target, tuple):
            read_classes(rows, at_class)
        return x, target
    given = torch.as_tensor(target, device=x.device)
    return x, read_classes(rows[:1].expand(len(x), -1), given.expand(len(x)) if given.ndim == 0 else given)
