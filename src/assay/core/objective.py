"""A loss as a plain mean over samples: what kind it is, and its weights folded into the mean over a whole data set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_labels, check_pairs, signs, without_graph
from assay.core.errors import InvalidInputError
from assay.core.look import check_outputs
from assay.core.losses import (
    LossFunction,
    binary_cross_entropy,
    class_targets,
    cross_entropy,
    paired_targets,
    single_logit,
    squared_error,
)
from assay.core.parameters import preserved
from assay.core.seeding import isolated_rng
from assay.core.trial import averaged, refused, tried_mean

LossKind: TypeAlias = Literal["cross_entropy", "binary_cross_entropy", "squared_error"]


@dataclass(frozen=True)
class MeanLoss:
    """A loss that is the mean over samples of one value each, on any part of the data that it was made for.

    Called with outputs and targets of some samples. Shapes and types of the targets are brought in line; their values
    were checked when it was made, so that it works under `torch.func`.

    Attributes:
        kind: What the loss is, see `loss_kind`.
        function: Computes the mean.
    """

    kind: LossKind | None
    function: LossFunction

    def __call__(self, outputs: Float[Tensor, "n *c"], y: Shaped[Tensor, "n *k"]) -> Float[Tensor, ""]:
        """Return the mean over the samples given."""
        return self.function(outputs, y)


def loss_kind(loss: LossFunction) -> LossKind | None:
    """Tell whether a loss is the cross-entropy of classes, of one logit, or the squared error; None for another.

    Known are the losses of `assay.core`; `nn.CrossEntropyLoss`, `nn.NLLLoss` (cross-entropy of log-probabilities),
    `nn.BCEWithLogitsLoss` and `nn.MSELoss`; the functions of these in `torch.nn.functional`; and `functools.partial` of
    a function.

    >>> loss_kind(nn.CrossEntropyLoss(label_smoothing=0.1)), loss_kind(F.mse_loss), loss_kind(nn.L1Loss())
    ('cross_entropy', 'squared_error', None)
    """
    if isinstance(loss, MeanLoss):
        return loss.kind
    known = _read(loss)
    return known.form.kind if known else None


def mean_over_samples(
    loss: LossFunction, model: nn.Module, x: Shaped[Tensor, "n *d"], y: Shaped[Tensor, "n *k"]
) -> MeanLoss:
    r"""Return a loss as a plain mean over samples, $\frac1{|B|}\sum_{i\in B} \ell_i$ on every part $B$ of the data.

    On all n samples it is what `loss` gives. A known loss (see `loss_kind`) may have class weights $w$ and an ignored
    label: the value of a sample is then $\ell_i = n\, w_{y_i} c_i / \sum_j w_{y_j}$, with $c_i$ its cross-entropy and
    the sum over all samples, so that parts add up and the mean of the gradients is the gradient of the mean. Any other
    loss is tried on a few samples: on all of them, on two unequal parts and on each alone.

    Args:
        loss: Loss of outputs and targets. With ``reduction="none"`` it stands for its mean.
        model: Network; it comes back as it was.
        x: Inputs.
        y: Targets; their values are checked here.

    Returns:
        The loss; one that is a `MeanLoss` already comes back as it is.

    Raises:
        InvalidInputError: The targets do not fit the loss and the outputs, or the loss is no mean over samples.

    Cost: a forward pass of at most eight samples.

    >>> loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
    >>> x, y = torch.eye(2), torch.tensor([0, 1])
    >>> mean = mean_over_samples(loss, nn.Identity(), x, y)
    >>> [round(mean(x[part], y[part]).item(), 3) for part in (slice(0, 1), slice(1, 2), slice(2))]
    [0.157, 0.47, 0.313]
    """
    if isinstance(loss, MeanLoss):
        return loss
    x, y = check_pairs(x, y, tokens=True)
    known = _read(loss)
    if known is not None and known.options.get("reduction") == "sum":
        raise InvalidInputError("the loss sums over samples, but a mean is needed; build it with reduction='mean'")
    outputs = _outputs(model, x[: 2 if known else 8])
    if known is not None:
        return MeanLoss(known.form.kind, known.form.fold(known, outputs, y))
    mean = tried_mean(loss, outputs, y)
    _check_reads_outputs_only(mean, model, outputs, y[: len(outputs)])
    return MeanLoss(None, mean)


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    try:
        with preserved(model), torch.no_grad():
            outputs = model(x)
    except Exception:
        check_outputs(model, x)  # says what the model does not take
        raise
    if isinstance(outputs, Tensor) and outputs.ndim and len(outputs) == len(x):
        return outputs
    return check_outputs(model, x)  # says what they are


def _check_reads_outputs_only(mean: LossFunction, model: nn.Module, outputs: Tensor, y: Tensor) -> None:
    """Refuse a loss with a penalty on the weights, which derivatives through the outputs would leave out."""
    weights = [value for value in model.parameters() if value.requires_grad]
    with torch.inference_mode(False), torch.enable_grad(), isolated_rng(0):
        value = mean(outputs, y)
        slopes = torch.autograd.grad(value, weights, allow_unused=True) if weights and value.requires_grad else ()
    if any(slope is not None for slope in slopes):
        raise InvalidInputError(
            "the loss reads the weights of the model beside its outputs, as a penalty does, and derivatives in the "
            "weights would leave that out; pass the loss without the penalty"
        )


def training_loss(loss: LossFunction, y: Shaped[Tensor, "n *k"]) -> LossFunction:
    """Return a loss for batches as its user wrote it, with targets brought in line as in `mean_over_samples`.

    Class weights and ignored labels are averaged within each batch, as torch does, and samples may be mixed. All
    targets are checked when the first outputs are seen.

    Args:
        loss: Loss of outputs and targets. With ``reduction="none"`` it stands for its mean.
        y: Targets of all samples.

    Raises:
        InvalidInputError: When it is called: the targets do not fit the loss and the outputs.
    """
    if isinstance(loss, MeanLoss):
        return loss
    known, checked = _read(loss), False

    def objective(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal checked
        if known is not None and not checked:
            known.form.fold(known, outputs.detach(), y)
        checked = True
        if known is not None:
            return known(outputs, targets).mean()
        with refused(outputs, targets):
            return averaged(loss, outputs, targets)

    return objective


@dataclass(frozen=True)
class _Form:
    """A kind of known loss: what it is recognised by, the options it has, and how it becomes a plain mean."""

    kind: LossKind | None
    function: Callable[..., Tensor]
    align: Callable[[Tensor, Tensor], Tensor]
    fold: Callable[["_Known", Tensor, Tensor], LossFunction]
    options: tuple[str, ...] = ()
    module: type[nn.Module] | None = None
    alias: LossFunction | None = None


@dataclass(frozen=True)
class _Known:
    """A known loss with the options that it was given."""

    form: _Form
    options: Mapping[str, Any]

    def __call__(self, outputs: Tensor, y: Tensor, **changed: str) -> Tensor:
        y = self.form.align(outputs, y)
        given = {key: value.to(outputs) if isinstance(value, Tensor) else value for key, value in self.options.items()}
        return self.form.function(outputs, y, **given | changed)


def _fold_classes(loss: _Known, outputs: Tensor, y: Tensor) -> LossFunction:
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


def _check_probabilities(loss: _Known, targets: Tensor) -> None:
    sums = targets.sum(1)
    if loss.form.function is F.nll_loss or (targets < 0).any() or ((sums - 1).abs() > 1e-2).any():
        raise InvalidInputError(
            f"floating-point targets of shape {tuple(targets.shape)} are no class probabilities, or the loss takes "
            "none; pass integer class labels"
        )


def _fold_logistic(loss: _Known, outputs: Tensor, y: Tensor) -> LossFunction:
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


def _fold_signs(loss: _Known, outputs: Tensor, y: Tensor) -> LossFunction:
    single_logit(outputs)
    signs(y)
    return loss


def _fold_pairs(loss: _Known, outputs: Tensor, y: Tensor) -> LossFunction:
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


def _read(loss: LossFunction) -> _Known | None:
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
        return _Known(form, options) if options.keys() <= set(form.options) else None
    return None
