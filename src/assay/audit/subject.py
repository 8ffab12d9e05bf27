"""Subject of an audit: a model, its loss and, where the auditor has them, its data."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from assay.core import (
    AssayError,
    InvalidInputError,
    LossFunction,
    binary_cross_entropy,
    check_labels,
    check_logits,
    check_model,
    check_pairs,
    cross_entropy,
    find_device,
    inspect_model,
    signs,
)

# Of what core.inspect_model reports, these make every probe's numbers meaningless. The rest (in-place operations,
# tied parameters, ...) matters to some probes only, which say so themselves.
_FATAL = ("dropout", "batch-norm")
_ROUNDING = 1e-5

Need = Literal["weights", "gradients", "training_data", "test_data", "initial_weights"]
Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network and what is known about it.

    Args:
        model: The network, in eval mode.
        loss: The training loss, as ``loss(outputs, targets)``; see `assay.core.losses`.
        train: Training inputs (n samples first) and targets, or None when the auditor has only the weights.
        test: Held-out inputs and targets.
        input_range: Lowest and highest value of an input, before any mean is subtracted.
        mean: Mean that was subtracted from every input before training; None when none was. Training and test inputs
            are given with the mean subtracted.
        class_names: One name a class; may be left empty.
        initial_state: The state dict before training, where it was kept.
        groups: Group of each training sample, for analyses by group.
        input_shape: Shape of one input. Needed only when there is no data and it cannot be read off the first layer.
        name: Name shown in the report.

    Raises:
        InvalidInputError: Something does not fit. The message lists all problems, each with its mend.
    """

    model: nn.Module
    loss: LossFunction
    train: Pairs | None = None
    test: Pairs | None = None
    input_range: tuple[float, float] = (0.0, 1.0)
    mean: Tensor | None = None
    class_names: tuple[str, ...] = ()
    initial_state: dict[str, Tensor] | None = None
    groups: Tensor | None = None
    input_shape: tuple[int, ...] | None = None
    name: str = "subject"

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InvalidInputError(f"subject {self.name!r} cannot be audited: {' | '.join(problems)}")

    def has(self, need: Need) -> bool:
        """Return whether the subject has what a probe needs."""
        parts = {"training_data": self.train, "test_data": self.test, "initial_weights": self.initial_state}
        return need not in parts or parts[need] is not None

    @property
    def sample_shape(self) -> tuple[int, ...] | None:
        """Shape of one input, from the data, ``input_shape`` or a dense first layer; None when it is unknown."""
        data = self.train or self.test
        if data is not None:
            return tuple(data[0].shape[1:])
        return self.input_shape or _dense_input_shape(self.model)

    def raw(self, x: Tensor) -> Tensor:
        """Return inputs as they were before the mean was subtracted, within the input range."""
        return (x if self.mean is None else x + self.mean).clamp(*self.input_range)

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def to(self, device: torch.device | str) -> "Subject":
        """Return the subject with a copy of its model, and its data, on ``device``.

        Raises:
            InvalidInputError: There is no such device here.
        """
        device = find_device(str(device))

        def move(pairs: Pairs | None) -> Pairs | None:
            return pairs and (pairs[0].to(device), pairs[1].to(device))

        model = copy.deepcopy(self.model).to(device)
        mean = None if self.mean is None else self.mean.to(device)
        return replace(self, model=model, train=move(self.train), test=move(self.test), mean=mean)


def _dense_input_shape(model: nn.Module) -> tuple[int, ...] | None:
    """Infer the input shape from a dense first layer: a square image where the width is a square number."""
    first = next((m for m in model.modules() if getattr(m, "weight", None) is not None), None)
    if not isinstance(first, nn.Linear):
        return None
    flattens = any(isinstance(module, nn.Flatten) for module in model.modules())
    side = math.isqrt(first.in_features)
    return (1, side, side) if flattens and side * side == first.in_features else (first.in_features,)


def _problems(subject: Subject) -> Iterator[str]:
    """Yield what is wrong with the subject and how to mend it."""
    broken = list(_complaint(check_model, subject.model))
    yield from broken
    if not isinstance(subject.model, nn.Module):
        return
    lowest, highest = subject.input_range
    if not lowest < highest:
        yield f"input_range is {subject.input_range}; pass (lowest, highest)"
    yield from (str(problem) for problem in inspect_model(subject.model) if problem.kind in _FATAL)
    for split in ("train", "test"):
        pairs = getattr(subject, split)
        if pairs is not None and not broken and lowest < highest:
            yield from (f"{split} data: {problem}" for problem in _data_problems(subject, *pairs))
    state = subject.initial_state
    if state is not None and state.keys() != subject.model.state_dict().keys():
        yield "initial_state has other names than the model; pass the state_dict of the same model before training"
    if subject.groups is not None and (subject.train is None or len(subject.groups) != len(subject.train[0])):
        yield "groups must hold one entry for each training sample; align them with train"


def _data_problems(subject: Subject, x: Tensor, y: Tensor) -> Iterator[str]:
    """Yield what is wrong with one split of the data, or between it and the model."""
    broken = list(_complaint(check_pairs, x, y))
    yield from broken
    if broken:
        return
    dtype = next(subject.model.parameters()).dtype
    if x.dtype != dtype:
        yield f"inputs are {x.dtype}, the weights {dtype}; convert one with .to({dtype})"
        return
    try:
        n_outputs = check_logits(subject.model, x).shape[1]
    except AssayError as error:
        yield str(error)
        return
    raw = x if subject.mean is None else x + subject.mean
    if (raw - subject.raw(x)).abs().max() > _ROUNDING:
        yield (
            f"inputs span [{raw.min():.4g}, {raw.max():.4g}], outside the stated range {subject.input_range}; "
            "correct input_range, and give any mean that was subtracted as mean="
        )
    yield from _label_problems(subject, y, n_outputs)


def _label_problems(subject: Subject, y: Tensor, n_outputs: int) -> Iterator[str]:
    """Yield what is wrong between the labels, the loss and the width of the output."""
    n_classes = max(n_outputs, 2)
    if subject.loss is cross_entropy and n_outputs == 1:
        yield "cross_entropy needs one output for each class, the model has 1; use binary_cross_entropy"
    elif subject.loss is cross_entropy:
        yield from _complaint(check_labels, y, n_outputs)
    elif subject.loss is binary_cross_entropy and n_outputs > 1:
        yield f"binary_cross_entropy needs one output, the model has {n_outputs}; use cross_entropy"
    elif subject.loss is binary_cross_entropy:
        yield from _complaint(signs, y)
    else:  # outputs of a regression or of a custom loss need not be classes
        return
    if len(subject.class_names) not in (0, n_classes):
        yield f"class_names holds {len(subject.class_names)} names for {n_classes} classes; pass one for each or none"


def _complaint(check: Callable[..., object], *arguments: object) -> Iterator[str]:
    """Yield the message of a check that refuses its arguments."""
    try:
        check(*arguments)
    except InvalidInputError as error:
        yield str(error)
