"""Fit of a subject to its data, and signs that the two do not belong together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from assay.audit.assumptions import FEW
from assay.audit.subject import Subject
from assay.core import (
    InvalidInputError,
    LossFunction,
    find_copies,
    loss_kind,
    margins,
    mean_interval,
    mean_over_samples,
    predict,
    proportion_interval,
    seeded,
)

_SAMPLES = 10_000  # of each part at most; of more, as many random ones
_SIGNIFICANT = 0.01  # of the one-sided tests
_GROUPS = 100  # of samples, whose mean losses are compared
_VARIES = 1e-6  # of the largest output
_MEND_CONSTANT = "load its trained weights, and give samples in the range that it was trained on."


@dataclass(frozen=True)
class Fit:
    """Fit of a network to one part of its data.

    Args:
        loss: Mean loss.
        n: Samples it was measured on.
        accuracy: Share of the samples that a classifier is right on; None for another network.
    """

    loss: float
    n: int
    accuracy: float | None = None


@dataclass(frozen=True)
class Quality:
    """Fit of a network to its training and held-out data, and signs that they do not belong together.

    Args:
        training: Fit to the training data; None where there are none, or it cannot be measured.
        held_out: The same for the held-out data.
        warnings: One sentence each, the worst first.
    """

    training: Fit | None = None
    held_out: Fit | None = None
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = {"training": self.training, "held-out": self.held_out}
        return "; ".join(_state(name, fit) for name, fit in parts.items() if fit is not None) or "not measured"


def _state(name: str, fit: Fit) -> str:
    figure = f"loss {fit.loss:.2g}" if fit.accuracy is None else f"accuracy {fit.accuracy:.0%}"
    return f"{name} {figure} ({_count(fit.n)})"


@dataclass(frozen=True)
class _Part:
    """Outputs on one part of the data, its targets, and how well they fit."""

    name: str
    outputs: Tensor
    y: Tensor
    loss: LossFunction
    fit: Fit
    correct: Tensor | None

    @property
    def answers(self) -> Tensor:
        """Class that a classifier answers for each sample."""
        scores = self.outputs.reshape(self.fit.n, -1)
        return (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)

    def group_losses(self, outputs: Tensor) -> list[float]:
        """Return the mean loss of each group of samples, for outputs on all of them."""
        groups = zip(outputs.chunk(_GROUPS), self.y.chunk(_GROUPS), strict=True)
        return [float(self.loss(each, y)) for each, y in groups]


def measure_quality(subject: Subject) -> Quality:
    """Measure accuracy and loss on both parts of the data, and look for signs that model and data do not fit.

    Accuracy is compared with the share of the commonest class by its exact 95% interval, a loss with that of the best
    constant by Student's 95% interval over groups of samples, and the two parts with each other by one-sided tests at
    1% (Fisher's exact test of accuracies, Welch's test of losses).

    Returns:
        What was measured, on at most 10,000 samples a part, and the warnings.

    Cost: time one forward pass a sample and a digest of it, memory that of the outputs.
    """
    parts: list[_Part] = []
    warnings: list[str] = []
    for name, pairs in (("training", subject.train), ("held-out", subject.test)):
        if pairs is not None:
            try:
                parts.append(_measure(subject, name, *pairs))
            except Exception as error:  # the user's own model and loss: any failure is an answer to show them
                reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
                warnings.append(f"The fit to the {name} data cannot be measured: {reason}.")
    warnings += [*_of_network(subject, parts)]
    for part in parts:
        warnings += _of_numbers(part) if part.correct is None else _of_classes(subject, part, int(part.correct.sum()))
    warnings += [*_of_both(subject, parts), *(warning for part in parts for warning in _of_size(part.name, part.fit.n))]
    fits = {part.name: part.fit for part in parts}
    return Quality(fits.get("training"), fits.get("held-out"), tuple(dict.fromkeys(warnings)))


def _measure(subject: Subject, name: str, x: Tensor, y: Tensor) -> _Part:
    if len(x) > _SAMPLES:
        chosen = torch.randperm(len(x), generator=seeded(0))[:_SAMPLES].to(x.device)
        x, y = x[chosen], y[chosen]
    outputs = predict(subject.model, x, look=False)
    outputs = outputs.float() if outputs.dtype.itemsize == 2 else outputs
    if not torch.isfinite(outputs).all():
        raise InvalidInputError("some outputs are NaN or infinite")
    mean = mean_over_samples(subject.loss, subject.model, x, y)
    loss = float(mean(outputs, y))
    if not abs(loss) < float("inf"):
        raise InvalidInputError(f"the mean loss is {loss}")
    classes = loss_kind(subject.loss) in ("cross_entropy", "binary_cross_entropy")
    correct = margins(outputs, y) > 0 if classes else None
    share = None if correct is None else float(correct.double().mean())
    return _Part(name, outputs, y, mean, Fit(loss, len(x), share), correct)


def _of_network(subject: Subject, parts: list[_Part]) -> Iterator[str]:
    """Look for weights that were truncated, and for outputs that do not depend on the input."""
    weights = [value for value in subject.model.parameters() if value.is_floating_point()]
    if weights and all(bool((value == value.round()).all()) for value in weights):
        zero = all(not value.any() for value in weights)
        yield (
            f"All {subject.n_parameters:,} weights are {'zero' if zero else 'whole numbers'}, as when they are saved "
            "as integers; save them in floating point and audit again."
        )
    for part in parts[:1]:
        if _is_constant(part):
            yield f"The network gives the same output for all {part.fit.n} {part.name} samples; {_MEND_CONSTANT}"
        elif _has_one_answer(part):
            answer = repr(subject.class_name(int(part.answers[0])))
            yield f"The network answers {answer} for all {part.fit.n} {part.name} samples; {_MEND_CONSTANT}"


def _is_constant(part: _Part) -> bool:
    distance = (part.outputs - part.outputs[:1]).abs().max()
    return part.fit.n > 1 and bool(distance <= _VARIES * part.outputs.abs().max())


def _has_one_answer(part: _Part) -> bool:
    return part.correct is not None and len(part.y.unique()) > 1 and len(part.answers.unique()) == 1


def _of_classes(subject: Subject, part: _Part, n_correct: int) -> Iterator[str]:
    """Compare a classifier with the commonest class of its labels."""
    n = part.fit.n
    labels, counts = part.y.unique(return_counts=True)
    if len(labels) == 1 and n > 1:
        yield (
            f"All {n} {part.name} samples are of one class ({subject.class_name(int(labels[0]))!r}), of which accuracy "
            "says nothing; give samples of all classes."
        )
    elif n > 1 and not _has_one_answer(part):
        interval, commonest = proportion_interval(n_correct, n), int(counts.max()) / n
        if interval.low <= commonest:
            yield (
                f"{part.name.capitalize()} accuracy of {interval.mean:.0%} (95% interval {interval.low:.0%} to "
                f"{interval.high:.0%}) is not significantly above the {commonest:.0%} of the commonest class, though "
                f"the network answers {len(part.answers.unique())} classes: are labels shuffled, or numbered otherwise "
                "than the outputs, or inputs scaled otherwise than in training?"
            )


def _of_numbers(part: _Part) -> Iterator[str]:
    """Compare a network of numbers with the best constant answer, the mean of the targets."""
    if part.fit.n < 2 or not part.y.is_floating_point() or part.y.numel() != part.outputs.numel():
        return
    constant = part.y.reshape(part.outputs.shape).mean(0, keepdim=True).expand_as(part.outputs).to(part.outputs)
    own, best = part.group_losses(part.outputs), part.group_losses(constant)
    gain = mean_interval([there - here for here, there in zip(own, best, strict=True)])
    if not gain.low > 0:
        yield (
            f"{part.name.capitalize()} loss of {part.fit.loss:.2g} is not significantly below the "
            f"{float(part.loss(constant, part.y)):.2g} of the best constant answer: are targets shuffled, or inputs or "
            "targets scaled otherwise than in training?"
        )


def _of_both(subject: Subject, parts: list[_Part]) -> Iterator[str]:
    """Look for parts that are swapped, and for samples that are in both."""
    if subject.train is None or subject.test is None:
        return
    n_shared = sum(map(bool, find_copies(subject.test[0], subject.train[0])))
    n = len(subject.test[0])
    if n_shared < n and len(parts) == 2 and (reason := _swapped(*parts)):
        yield f"{reason}: are the two parts swapped, or are held-out samples easier?"
    if n_shared:
        which = f"All {n}" if n_shared == n else f"{n_shared} of {n}"
        yield (
            f"{which} held-out samples are training samples too, bit for bit: they tell nothing about new samples; "
            "give samples that were not trained on."
        )


def _swapped(training: _Part, held_out: _Part) -> str:
    """Say that the network is significantly better on held-out samples; empty where it is not."""
    if training.correct is not None and held_out.correct is not None:
        right = [int(part.correct.sum()) for part in (held_out, training) if part.correct is not None]
        table = [[right[0], held_out.fit.n - right[0]], [right[1], training.fit.n - right[1]]]
        test: Any = stats.fisher_exact(table, alternative="greater")
        accuracies = (
            f"{held_out.fit.accuracy:.0%} is significantly above training accuracy of {training.fit.accuracy:.0%}"
        )
        return f"Held-out accuracy of {accuracies}" if test.pvalue < _SIGNIFICANT else ""
    if min(training.fit.n, held_out.fit.n) < 2:
        return ""
    samples = [part.group_losses(part.outputs) for part in (held_out, training)]
    test = stats.ttest_ind(*samples, equal_var=False, alternative="less")
    losses = f"{held_out.fit.loss:.2g} is significantly below training loss of {training.fit.loss:.2g}"
    return f"Held-out loss of {losses}" if test.pvalue < _SIGNIFICANT else ""


def _of_size(name: str, n: int) -> Iterator[str]:
    if n < FEW:
        yield f"There are only {n} {name} samples; give at least {FEW}: rates of fewer say little."


def _count(n: int) -> str:
    return f"{n:,} sample{'s' if n != 1 else ''}"
