"""Problems of a subject's data, each with its mend, and the data as the probes take them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.audit.samples import Pairs
from assay.core import (
    AssayError,
    InvalidInputError,
    LossFunction,
    check_labels,
    check_logits,
    check_outputs,
    check_pairs,
    is_probabilities,
    loss_kind,
    mean_over_samples,
    signs,
    stays_in_unit_interval,
)

SIGMOIDS = (
    "all outputs lie between 0 and 1 and rows do not sum to one, as those of a sigmoid for each class; they are taken "
    "as scores as they are; take the sigmoid off if there is one"
)
_ROUNDING = 1e-5
_LOOKED_AT = 200  # samples


@dataclass
class CheckedData:
    """One part of the data, checked against the network and the loss.

    Attributes:
        pairs: Inputs and targets; labels as a vector of int64.
        probabilities: Whether the network returns probabilities.
        sigmoids: Whether it returns columns between 0 and 1 whose rows do not sum to one.
        problems: What is wrong.
    """

    pairs: Pairs
    probabilities: bool = False
    sigmoids: bool = False
    problems: list[str] = field(default_factory=list)


def check_data(
    model: nn.Module,
    loss: LossFunction,
    pairs: Pairs,
    *,
    input_range: tuple[float, float],
    mean: Tensor | None,
    class_names: Sequence[str],
) -> CheckedData:
    """Check inputs and targets against the network, the loss and the range, and bring labels to one form."""
    found = CheckedData(pairs)
    try:
        x, y = found.pairs = check_pairs(*pairs, tokens=True)
        _check_type(model, x)
        scores = scores_of(model, x)
    except AssayError as error:
        found.problems.append(str(error))
        return found
    found.problems += _range_problems(x, input_range, mean)
    kind = loss_kind(loss)
    found.probabilities = kind == "cross_entropy" and is_probabilities(scores)
    if kind == "cross_entropy" and not found.probabilities:
        found.sigmoids = stays_in_unit_interval(model, x[:_LOOKED_AT])
    if isinstance(loss, nn.BCELoss) or loss is F.binary_cross_entropy:
        found.problems.append(
            "the loss is nn.BCELoss, of probabilities, and logits are needed; take the sigmoid off the network and use "
            "nn.BCEWithLogitsLoss(), which applies its own"
        )
        return found
    try:
        found.pairs = x, _labels(y, kind, scores.shape[1])
        mean_over_samples(loss, model, *found.pairs)
    except AssayError as error:
        found.problems.append(str(error))
        return found
    n_classes = max(scores.shape[1], 2)
    if kind in ("cross_entropy", "binary_cross_entropy") and len(class_names) not in (0, n_classes):
        found.problems.append(
            f"class_names holds {len(class_names)} names for {n_classes} classes; pass one for each or none"
        )
    if kind == "binary_cross_entropy":
        found.problems += complaints(_check_logit, model, x[:_LOOKED_AT])
    return found


def complaints(check: Callable[..., object], *arguments: object) -> Iterator[str]:
    """Yield the message of a check that refuses its arguments."""
    try:
        check(*arguments)
    except AssayError as error:
        yield str(error)


def check_range(input_range: tuple[float, float]) -> None:
    """Require two finite numbers, the lower one first."""
    try:
        lowest, highest = map(float, input_range)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"input_range is {input_range}; pass two numbers, (lowest, highest)") from error
    if lowest > highest:
        raise InvalidInputError(f"input_range is {input_range}, which is reversed; give ({highest:g}, {lowest:g})")
    if not (lowest < highest and math.isfinite(highest - lowest)):
        raise InvalidInputError(f"input_range is {input_range}; pass (lowest, highest), two finite numbers")


def _check_type(model: nn.Module, x: Tensor) -> None:
    types = [value.dtype for value in model.parameters() if value.is_floating_point()]
    if x.is_floating_point() and x.dtype not in types:
        raise InvalidInputError(f"inputs are {x.dtype}, the weights {types[0]}; convert one with .to({types[0]})")


def scores_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return the scores of a few samples; where the network refuses them, say which change of axes it accepts."""
    try:
        check_logits(model, x)
    except InvalidInputError as error:
        accepted = next((change for change, changed in _rearranged(x[:3]) if _accepts(model, changed)), None)
        hint = f": it accepts {accepted}" if accepted else ""
        raise InvalidInputError(f"{error}{hint}") from error
    outputs = check_outputs(model, x)
    return outputs.reshape(len(outputs), -1)


def _rearranged(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield what images are often to become, by the expression that makes it."""
    if x.ndim == 4:
        yield "x.permute(0, 3, 1, 2), the channels before height and width", x.permute(0, 3, 1, 2)
        yield "x.permute(0, 2, 3, 1), the channels after height and width", x.permute(0, 2, 3, 1)
        if x.shape[1] == 1:
            yield "x.repeat(1, 3, 1, 1), three equal channels", x.repeat(1, 3, 1, 1)
        if x.shape[1] == 3 and torch.equal(x, x[:, :1].expand_as(x)):
            yield "x[:, :1], one of three equal channels", x[:, :1]
    if x.ndim == 3:
        yield "x[:, None], with an axis for one channel", x[:, None]
        yield "x.transpose(1, 2)", x.transpose(1, 2)
    if x.ndim > 2:
        yield "x.flatten(1)", x.flatten(1)
    if x.ndim == 2:
        side = math.isqrt(x.shape[1])
        if side**2 == x.shape[1]:
            yield f"x.reshape(-1, 1, {side}, {side})", x.reshape(-1, 1, side, side)
        yield "x[:, None]", x[:, None]


def _accepts(model: nn.Module, x: Tensor) -> bool:
    return not list(complaints(check_logits, model, x.contiguous()))


def _range_problems(x: Tensor, input_range: tuple[float, float], mean: Tensor | None) -> Iterator[str]:
    if not x.is_floating_point():  # ids are no amounts: the network itself knows those that there are
        return
    raw = x
    if mean is not None:
        try:
            raw = x + mean.broadcast_to(x.shape[1:])
        except RuntimeError:
            yield f"mean has shape {tuple(mean.shape)}, a sample {tuple(x.shape[1:])}; give a mean of a sample's shape"
            return
    if (raw - raw.clamp(*input_range)).abs().max() > _ROUNDING:
        yield (
            f"inputs span [{raw.min():.4g}, {raw.max():.4g}], outside the stated range {input_range}; "
            "correct input_range, and give any mean that was subtracted as mean="
        )


def _labels(y: Tensor, kind: str | None, n_outputs: int) -> Tensor:
    """Return targets as the probes take them: labels as a vector of int64, others as they are."""
    if kind == "cross_entropy":
        if n_outputs == 1:
            raise InvalidInputError(
                "cross_entropy needs one output for each class, the model has 1; use binary_cross_entropy"
            )
        return check_labels(y, n_outputs)
    if kind == "binary_cross_entropy":
        if n_outputs > 1:
            if y.ndim == 2 and y.shape[1] == n_outputs:
                raise InvalidInputError(
                    f"targets of shape {tuple(y.shape)} hold {n_outputs} labels a sample, and an audit takes one label "
                    "a sample; audit one output with its column, as nn.Sequential(model, a layer that selects it)"
                )
            raise InvalidInputError(
                f"binary_cross_entropy needs one output, the model has {n_outputs}; use cross_entropy"
            )
        signs(y)
        return y.flatten().long()
    return y


def _check_logit(model: nn.Module, x: Tensor) -> None:
    """Refuse a single output that is a probability: one that also stays between 0 and 1 far away from the data."""
    if stays_in_unit_interval(model, x):
        raise InvalidInputError(
            "all outputs lie between 0 and 1, as those of a sigmoid, and logits are needed; take the sigmoid off: "
            "binary_cross_entropy applies its own"
        )
