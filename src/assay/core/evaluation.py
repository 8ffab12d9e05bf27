"""Predictions in batches, accuracy, margins and mean loss."""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from assay.core.checks import check_pairs, check_samples
from assay.core.losses import LossFunction, signs, single_logit
from assay.core.parameters import preserved
from assay.core.progress import track


def predict(
    model: nn.Module, x: Float[Tensor, "n *d"], *, batch_size: int = 256, progress: bool = False
) -> Float[Tensor, "n *c"]:
    """Compute the model's outputs on `x`, in evaluation mode and without gradients.

    Args:
        model: Any network; it comes back as it was.
        x: Inputs.
        batch_size: Samples a forward pass.
        progress: Draw a bar on standard error.

    Returns:
        The outputs, one row a sample.

    Raises:
        InvalidInputError: `x` is empty, not floating point or not finite.

    Cost: time n forward passes, memory that of one batch.

    >>> predict(nn.Linear(3, 2), torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """
    check_samples(x)
    batches = x.split(batch_size)
    with preserved(model), torch.no_grad():
        return torch.cat([model(batch) for batch in track(batches, "predicting", enabled=progress)])


def accuracy(logits: Float[Tensor, "n *c"], y: Num[Tensor, " n"]) -> float:
    """Compute the share of samples with the highest score (for one logit, the sign) at the label.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    return (margins(logits, y) > 0).double().mean().item()


def margins(logits: Float[Tensor, "n *c"], y: Num[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Compute the margin of each sample, $f_y - \max_{j\ne y} f_j$, or $s f$ for one logit of sign label $s$.

    Args:
        logits: Scores of shape `(n, c)`; `(n, 1)` or `(n,)` for a binary network.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for a single logit.

    Returns:
        Margins; positive where the sample is classified correctly.

    >>> margins(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([1])).tolist()
    [-1.0]
    >>> margins(torch.tensor([[-3.0]]), torch.tensor([0])).tolist()
    [3.0]
    """
    if logits.ndim == 1 or logits.shape[1] == 1:
        return signs(y).to(logits) * single_logit(logits)
    return logits.gather(1, y[:, None]).squeeze(1) - best_other(logits, y)


def best_other(logits: Float[Tensor, "n c"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Return the highest score among the other classes, $\max_{j\ne y} f_j$.

    >>> best_other(torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0])).tolist()
    [1.0]
    """
    return logits.scatter(1, y[:, None], float("-inf")).amax(1)


def mean_loss(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Tensor, loss: LossFunction, *, batch_size: int = 256
) -> float:
    """Compute the mean loss over all samples, batch by batch, each batch weighted by its size.

    Raises:
        InvalidInputError: `x` and `y` are empty or of different lengths.

    >>> from assay.core.losses import squared_error
    >>> mean_loss(nn.Identity(), torch.ones(3, 1), torch.zeros(3), squared_error, batch_size=2)
    1.0
    """
    check_pairs(x, y)
    total = 0.0
    with preserved(model), torch.no_grad():
        for batch_x, batch_y in zip(x.split(batch_size), y.split(batch_size), strict=True):
            total += loss(model(batch_x), batch_y).double().item() * len(batch_x)
    return total / len(x)
