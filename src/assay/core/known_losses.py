"""Known losses, ours and torch's: options, targets, and class weights as a plain mean over samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from assay.core.checks import check_labels, signs, without_graph
from assay.core.errors import InvalidInputError
from assay.core.losses import (
    LossFunction,
    binary_cross_entropy,
    class_targets,
    cross_entropy,
    paired_targets,
    single_logit,
    squared_error,
)

LossKind: TypeAlias = Literal["cross_entropy", "binary_cross_entropy", "squared_error"]


@dataclass(frozen=True)
class _Form:
    """A form of known loss: its kind, function, module and options, the fit of targets to it, and its plain mean."""

    kind: LossKind | None
    function: Callable[..., Tensor]
    align: Callable[[Tensor, Tensor], Tensor]
    fold: Callable[["KnownLoss", Tensor, Tensor], LossFunction]
    options: tuple[str, ...] = ()
    module: type[nn.Module] | None = None
    alias: LossFunction | None = None


@dataclass(frozen=True)
class KnownLoss:
    """A known loss with its user's options."""

    form: _Form
    options: Mapping[str, Any]

    @property
    def kind(self) -> LossKind | None:
        """What the loss is called; None for one of another kind."""
        return self.form.kind

    def folded(self, outputs: Tensor, y: Tensor) -> LossFunction:
        """Return the loss as a plain mean over samples, with the weights of all targets `y` folded in.

        Raises:
            InvalidInputError: The targets do not fit the loss and the outputs of some samples.
        """
        return self.form.fold(self, outputs, y)

    def __call__(self, outputs: Tensor, y: Tensor, **changed: str) -> Tensor:
        """Return what the user's loss gives, with targets in its shape and type."""
        y = self.form.align(outputs, y)
        given = {key: value.to(outputs) if isinstance(value, Tensor) else value for key, value in self.options.items()}
        return self.form.function(outputs, y, **given | changed)


def _fold_classes(loss: KnownLoss, outputs: Tensor, y: Tensor) -> LossFunction:
    labels = class_targets(_rows(outputs, len(y)), y)
    if labels.is_floating_point():
        _check_probabilities(loss, labels)
        return partial(loss, reduction="mean")
    kept = labels != loss.options.get("ignore_index", -100)
    if kept.any():
        check_labels(labels[kept], outputs.shape[1])
    weight, averaged = loss.options.get("weight"), loss.options.get("reduction", "mean") == "mean"
    if weight is not None and len(weight) != outputs.shape[1]:
        raise InvalidInputError(
            f"the loss has {len(weight)} class weights and the network {outputs.shape[1]} outputs; give one for each"
        )
    if averaged and weight is None and kept.all():
        return partial(loss, reduction="mean")
    counted = (kept if weight is None else weight.to(y.device).double()[labels[kept]]).sum()
    n, total = len(labels), float(counted) if averaged else labels.numel()
    if not total > 0:
        raise InvalidInputError("no label counts in the loss: all are ignored or of weight zero; pass others")

    def mean(outputs: Tensor, y: Tensor) -> Tensor:
        values = loss(outputs, y, reduction="none")
        return values.reshape(len(values), -1).sum(1).mean() * (n / total)

    return mean


def _check_probabilities(loss: KnownLoss, targets: Tensor) -> None:
    sums = targets.sum(1)
    if loss.form.function is F.nll_loss or (targets < 0).any() or ((sums - 1).abs() > 1e-2).any():
        raise InvalidInputError(
            f"floating-point targets of shape {tuple(targets.shape)} are no class probabilities, or the loss takes "
            "none; pass integer class labels"
        )


def _fold_logistic(loss: KnownLoss, outputs: Tensor, y: Tensor) -> LossFunction:
    targets = paired_targets(_rows(outputs, len(y)), y)
    if (targets < 0).any() or (targets > 1).any():
        raise InvalidInputError(
            f"targets of the binary cross-entropy must lie between 0 and 1, got {targets.min():g} to "
            f"{targets.max():g}; map labels of -1 and 1 with (y + 1) / 2"
        )
    for name in ("weight", "pos_weight"):
        value = loss.options.get(name)
        if value is not None and value.ndim == outputs.ndim and len(value) > 1:
            raise InvalidInputError(
                f"{name} of shape {tuple(value.shape)} has an entry for each sample of one batch, which other parts of "
                "the data cannot use; give one for each output"
            )
    return partial(loss, reduction="mean")


def _fold_signs(loss: KnownLoss, outputs: Tensor, y: Tensor) -> LossFunction:
    single_logit(outputs)
    signs(y)
    return loss


def _fold_pairs(loss: KnownLoss, outputs: Tensor, y: Tensor) -> LossFunction:
    paired_targets(_rows(outputs, len(y)), y)
    if loss.form.function is squared_error:
        return loss
    return partial(loss, reduction="mean")


def _as_given(outputs: Tensor, y: Tensor) -> Tensor:
    return y


def _rows(outputs: Tensor, n: int) -> Tensor:
    """Return a stand-in for the outputs of n samples, without memory."""
    return outputs[:1].expand(n, *outputs.shape[1:])


_FORMS = (
    _Form(
        "cross_entropy",
        F.cross_entropy,
        class_targets,
        _fold_classes,
        ("weight", "ignore_index", "reduction", "label_smoothing"),
        nn.CrossEntropyLoss,
        cross_entropy,
    ),
    _Form(
        "cross_entropy", F.nll_loss, class_targets, _fold_classes, ("weight", "ignore_index", "reduction"), nn.NLLLoss
    ),
    _Form("binary_cross_entropy", binary_cross_entropy, _as_given, _fold_signs),
    _Form(
        "binary_cross_entropy",
        F.binary_cross_entropy_with_logits,
        paired_targets,
        _fold_logistic,
        ("weight", "reduction", "pos_weight"),
        nn.BCEWithLogitsLoss,
    ),
    _Form("squared_error", squared_error, paired_targets, _fold_pairs),
    _Form("squared_error", F.mse_loss, paired_targets, _fold_pairs, ("reduction",), nn.MSELoss),
    _Form(None, F.l1_loss, paired_targets, _fold_pairs, ("reduction",), nn.L1Loss),
    _Form(None, F.smooth_l1_loss, paired_targets, _fold_pairs, ("reduction", "beta"), nn.SmoothL1Loss),
    _Form(None, F.huber_loss, paired_targets, _fold_pairs, ("reduction", "delta"), nn.HuberLoss),
)


def read_loss(loss: LossFunction) -> KnownLoss | None:
    """Return the known loss that this one is; None for another, also for a known one with other options."""
    function, given = loss, {}
    if isinstance(loss, partial) and not loss.args:
        function, given = loss.func, loss.keywords
    for form in _FORMS:
        if form.module is not None and isinstance(loss, form.module) and type(loss).forward is form.module.forward:
            given = {name: getattr(loss, name) for name in form.options}
        elif function is not form.function and (form.alias is None or function is not form.alias):
            continue
        options = {
            name: without_graph(value) if isinstance(value, Tensor) else value
            for name, value in given.items()
            if value is not None
        }
        return KnownLoss(form, options) if options.keys() <= set(form.options) else None
    return None
