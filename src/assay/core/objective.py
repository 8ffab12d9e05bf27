"""A loss as a plain mean over samples: what kind it is, and its weights folded into the mean over a whole data set."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_pairs
from assay.core.errors import InvalidInputError
from assay.core.known_losses import LossKind, read_loss
from assay.core.look import check_outputs
from assay.core.losses import LossFunction
from assay.core.parameters import preserved
from assay.core.problems import container
from assay.core.seeding import isolated_rng
from assay.core.trial import averaged, refused, tried_mean


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

    >>> loss_kind(nn.CrossEntropyLoss(label_smoothing=0.1)), loss_kind(nn.functional.mse_loss), loss_kind(nn.L1Loss())
    ('cross_entropy', 'squared_error', None)
    """
    if isinstance(loss, MeanLoss):
        return loss.kind
    known = read_loss(loss)
    return known.kind if known else None


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
    known = read_loss(loss)
    if known is not None and known.options.get("reduction") == "sum":
        raise InvalidInputError("the loss sums over samples, but a mean is needed; build it with reduction='mean'")
    outputs = _outputs(model, x[: 2 if known else 8])
    if known is not None:
        return MeanLoss(known.kind, known.folded(outputs, y))
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
    known, checked = read_loss(loss), False

    def objective(outputs: Any, targets: Tensor) -> Tensor:  # a loss of the user's own may read a dict or a tuple
        nonlocal checked
        if known is not None and not isinstance(outputs, Tensor):
            raise InvalidInputError("the model {}; {}".format(*container(outputs, len(targets))))
        if known is not None and not checked:
            known.folded(outputs.detach(), y)
        checked = True
        if known is not None:
            return known(outputs, targets).mean()
        with refused(outputs, targets):
            return averaged(loss, outputs, targets)

    return objective
