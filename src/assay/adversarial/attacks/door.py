"""The door for classifiers to attack: checks of networks, inputs and labels, and the type in which inputs are moved."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int, Num, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.counting import PassCounter
from assay.adversarial.attacks.threat import Lp
from assay.core import (
    InvalidInputError,
    check_labels,
    check_logits,
    check_pairs,
    check_samples,
    check_scores,
    is_probabilities,
    predict,
    preserved,
    signs,
)


def check_attackable(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"] | None = None,
    *,
    threat: Lp | None = None,
    allow_single: bool = False,
    allow_probabilities: bool = False,
) -> tuple[Float[Tensor, "n *d"], Num[Tensor, " n"], int]:
    """Check a classifier, its inputs and labels.

    Args:
        model: Classifier with outputs `(n, c)`.
        x: Inputs.
        y: Labels; the model's predictions when None.
        threat: Threat model, whose range and radius the inputs must fit.
        allow_single: Also take a network with one output, whose labels are -1 and 1.
        allow_probabilities: Also take a network that returns probabilities; attacks need their logarithm.

    Returns:
        The inputs, clipped to the threat's range where they leave it by rounding only, the labels as integers, and the
        number of outputs.

    Raises:
        InvalidInputError: One of them does not fit, or the model has a single output.
    """
    with torch.inference_mode(False):
        x, y = (check_samples(x), None) if y is None else check_pairs(x, y)
        n_outputs = _count_outputs(model, x, allow_probabilities)
        if n_outputs == 1 and not allow_single:
            raise InvalidInputError(
                "the model has one output, but an attack needs one score for each class; wrap it to return (0, f(x)), "
                "as in torch.cat([torch.zeros_like(f), f], 1)"
            )
        check = signs if n_outputs == 1 else partial(check_labels, n_classes=n_outputs)
        y = decisions(predict(model, x, look=False)) if y is None else check(y)
        if threat is not None:
            x = threat.check_inside(x)
            threat.working_dtype(x)
        return x, y, n_outputs


def decisions(scores: Float[Tensor, "n *c"]) -> Int[Tensor, " n"]:
    """Return the class with the highest score; the sign, -1 or 1, of a single score."""
    if scores.ndim > 1 and scores.shape[1] > 1:
        return scores.argmax(1)
    return 2 * (scores.reshape(-1) > 0).long() - 1


def _count_outputs(model: nn.Module, x: Tensor, allow_probabilities: bool) -> int:
    if _is_checked(model):
        with preserved(model), torch.no_grad():
            return model(x[:1]).reshape(1, -1).shape[1]
    logits = check_logits(model, x)
    if not allow_probabilities and is_probabilities(logits) and returns_probabilities(model, x):
        check_scores(model, x)
    return logits.shape[1]


def returns_probabilities(model: nn.Module, x: Float[Tensor, "n *d"]) -> bool:
    """Tell whether a checked classifier returns probabilities.

    Scores that only happen to sum to one, as those of a linear network can, do not at other inputs: three samples are
    halved.
    """
    return all(is_probabilities(predict(model, points, look=False)) for points in (x[:3], x[:3] / 2))


def _is_checked(model: nn.Module) -> bool:
    return isinstance(model, PassCounter) and model.checked


@dataclass(frozen=True)
class Attackable:
    """Checked arguments of an attack, in the type in which it moves the inputs.

    Attributes:
        model: The network; it takes inputs of that type and rounds them to their own.
        x: Inputs.
        y: Labels.
        n_outputs: Outputs of the model.
        given: The inputs in their own type.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    n_outputs: int
    given: Tensor

    def returned(self, point: Tensor, threat: Lp) -> Tensor:
        """Return perturbed inputs in the type of the inputs, within the ball."""
        return point if point.dtype == self.given.dtype else threat.project(point, self.given)


@contextmanager
def attackable(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"] | None = None,
    *,
    threat: Lp | None = None,
    allow_single: bool = False,
) -> Iterator[Attackable]:
    """Check the arguments of an attack as `check_attackable` does, and hold the model `preserved` while it runs.

    Steps that the inputs' own type would round away are taken in a wider one; the network sees rounded points.

    Raises:
        InvalidInputError: The arguments do not fit each other, or the radius is below the resolution of the inputs.
    """
    x, y, n_outputs = check_attackable(model, x, y, threat=threat, allow_single=allow_single)
    with preserved(model):
        wide = torch.promote_types(x.dtype, torch.float32) if threat is None else threat.working_dtype(x)
        yield Attackable(model if wide == x.dtype else _Rounding(model, x.dtype), x.to(wide), y, n_outputs, x)


class _Rounding(nn.Module):
    """Run a network on inputs rounded to its own type, and return scores in the type of the inputs."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.to(self.dtype)).to(x.dtype)
