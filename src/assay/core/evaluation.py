"""Predictions in batches, accuracy, margins and mean loss."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core.checks import check_count, check_finite, check_labels, check_pairs, check_samples, signs
from assay.core.errors import InvalidInputError, NumericalError
from assay.core.look import check_large_batch, check_outputs
from assay.core.losses import LossFunction, check_lengths, single_logit
from assay.core.objective import MeanLoss, mean_over_samples
from assay.core.parameters import preserved
from assay.core.progress import track


def predict(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    *,
    batch_size: int = 256,
    look: bool = True,
    progress: bool = False,
) -> Float[Tensor, "n *c"]:
    """Compute the model's outputs on `x`, in evaluation mode and without gradients.

    Args:
        model: Any network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        batch_size: Samples a forward pass.
        look: Look at the model first, by `check_outputs`, and compare the last rows of the first batch with those of a
            small one; a caller that has looked leaves it out.
        progress: Draw a bar on standard error.

    Returns:
        The outputs, one row a sample.

    Raises:
        InvalidInputError: `x` is empty or not finite, or the model does not answer each sample by a row of its own.
        NumericalError: The look finds NaN or infinite outputs.

    Cost: time n forward passes and those of the look, memory that of one batch.

    >>> predict(nn.Linear(3, 2), torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """
    x = check_samples(x, tokens=True)
    check_count(batch_size, "batch_size")
    if look:
        check_outputs(model, x)
    batches = x.split(batch_size)
    with preserved(model), torch.no_grad():
        found = [model(batch) for batch in track(batches, "predicting", enabled=progress)]
    if look:
        check_large_batch(model, batches[0], found[0])
    return torch.cat(found)


def accuracy(logits: Float[Tensor, "n *c"], y: Shaped[Tensor, "n *one"]) -> float:
    """Compute the share of samples with the highest score (for one logit, the sign) at the label.

    Arguments and errors are those of `margins`.

    Raises:
        NumericalError: Some scores are NaN.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    found = margins(logits, y)
    if found.isnan().any():
        raise NumericalError("some scores are NaN and are in no order; check the weights and the inputs of the model")
    return (found > 0).double().mean().item()


def margins(logits: Float[Tensor, "n *c"], y: Shaped[Tensor, "n *one"]) -> Float[Tensor, " n"]:
    r"""Compute the margin of each sample, $f_y - \max_{j\ne y} f_j$, or $s f$ for one logit of sign label $s$.

    Args:
        logits: Scores of shape `(n, c)`; `(n, 1)` or `(n,)` for a binary network.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for a single logit, of shape `(n,)` or `(n, 1)`.

    Returns:
        Margins; positive where the sample is classified correctly.

    Raises:
        InvalidInputError: The labels do not fit the scores, or are not as many.

    >>> margins(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([1])).tolist()
    [-1.0]
    >>> margins(torch.tensor([[-3.0]]), torch.tensor([0])).tolist()
    [3.0]
    """
    _check_scores(logits)
    if logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1):
        labels = signs(y)
        check_lengths(logits, labels)
        check_not_sigmoid(single_logit(logits), labels)
        return labels.to(logits) * single_logit(logits)
    labels = _class_labels(logits, y)
    return logits.gather(1, labels[:, None]).squeeze(1) - best_other(logits, labels)


def check_not_sigmoid(scores: Float[Tensor, " n"], labels: Shaped[Tensor, " n"]) -> None:
    """Require scores of a binary network that are no probabilities: those are right at the threshold 0.5, not at 0.

    Args:
        scores: One a sample.
        labels: Signs.

    Raises:
        InvalidInputError: No score is for the negative class, and the threshold 0.5 knows it better than a constant.

    >>> check_not_sigmoid(torch.tensor([-2.0, 1.0]), torch.tensor([-1, 1]))
    """
    if not ((scores >= 0) & (scores <= 1)).all():
        return
    positive = labels > 0
    most_frequent = max(int(positive.sum()), int((~positive).sum()))
    if int(((scores > 0.5) == positive).sum()) > most_frequent:
        raise InvalidInputError(
            "the scores lie between 0 and 1 and are right at the threshold 0.5: they are probabilities, and logits are "
            "needed; take the sigmoid off, or pass scores.logit()"
        )


def best_other(logits: Float[Tensor, "n c"], y: Shaped[Tensor, "n *one"]) -> Float[Tensor, " n"]:
    r"""Return the highest score among the other classes, $\max_{j\ne y} f_j$.

    Args:
        logits: Scores of shape `(n, c)`.
        y: Class indices, of shape `(n,)` or `(n, 1)`.

    Raises:
        InvalidInputError: The labels do not fit the scores, or are not as many.

    >>> best_other(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0])).tolist()
    [1.0]
    """
    return logits.scatter(1, _class_labels(logits, y)[:, None], float("-inf")).amax(1)


def mean_loss(
    model: nn.Module, x: Shaped[Tensor, "n *d"], y: Tensor, loss: LossFunction, *, batch_size: int = 256
) -> float:
    """Compute the mean loss over all samples, batch by batch.

    It is what the loss gives on all samples at once, also with class weights or ignored labels: `mean_over_samples`. A
    `MeanLoss` says that its caller has checked model and data.

    Args:
        model: Any network; it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples.
        batch_size: Samples a forward pass.

    Raises:
        InvalidInputError: `x` and `y` are empty or of different lengths, the model does not answer each sample by a row
            of its own, or the loss is no mean over samples.
        NumericalError: The loss is NaN or infinite.

    Cost: time n forward passes and those of the look, memory that of one batch.

    >>> from assay.core.losses import squared_error
    >>> mean_loss(nn.Linear(2, 1, bias=False), torch.zeros(3, 2), torch.ones(3), squared_error, batch_size=2)
    1.0
    """
    x, y = check_pairs(x, y, tokens=True)
    check_count(batch_size, "batch_size")
    look = not isinstance(loss, MeanLoss)
    if look:
        check_outputs(model, x)
    mean = mean_over_samples(loss, model, x, y)
    total = 0.0
    with preserved(model), torch.no_grad():
        for batch_x, batch_y in zip(x.split(batch_size), y.split(batch_size), strict=True):
            outputs = model(batch_x)
            if look:
                check_large_batch(model, batch_x, outputs)
                look = False
            # A mean in half precision would keep three digits.
            outputs = outputs.float() if outputs.dtype.itemsize == 2 else outputs
            total += mean(outputs, batch_y).double().item() * len(batch_x)
    check_finite(torch.tensor(total), "the mean loss")
    return total / len(x)


def _check_scores(logits: Tensor) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidInputError(f"scores must be a floating-point tensor, got {got}; pass the outputs of the network")


def _class_labels(logits: Tensor, y: Tensor) -> Tensor:
    _check_scores(logits)
    if logits.ndim != 2:
        raise InvalidInputError(
            f"scores must be of shape (n, c), got {tuple(logits.shape)}; pass one row of class scores a sample"
        )
    labels = check_labels(y, logits.shape[1])
    check_lengths(logits, labels)
    return labels
