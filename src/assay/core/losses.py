"""Losses as functions of logits and targets, all means over the batch."""

from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor

from assay.core.errors import InvalidInputError

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function `(logits, targets) -> scalar`: the mean over the batch of a loss per sample."""


def cross_entropy(logits: Float[Tensor, "n c"], y: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""Compute the softmax cross-entropy $-\frac1n\sum_i \log p_{y_i}(x_i)$.

    Args:
        logits: Class scores.
        y: Class indices in `0..c-1`.

    >>> import torch
    >>> round(cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp().item(), 4)
    4.0
    """
    return F.cross_entropy(logits, y)


def binary_cross_entropy(logits: Float[Tensor, "n *one"], y: Num[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""Compute the logistic loss $\frac1n\sum_i \log(1 + e^{-s_i f(x_i)})$ of a single-logit network.

    Args:
        logits: Scores of the positive class, of shape `(n,)` or `(n, 1)`.
        y: Labels in {0, 1} or in {-1, 1}.

    >>> import torch
    >>> binary_cross_entropy(torch.zeros(2, 1), torch.tensor([0, 1])).exp().item()
    2.0
    """
    scores = single_logit(logits)
    return F.softplus(-signs(y).to(scores) * scores).mean()


def squared_error(outputs: Float[Tensor, "n *c"], targets: Num[Tensor, "n *k"]) -> Float[Tensor, ""]:
    r"""Compute $\frac1n\sum_i \lVert f(x_i) - y_i\rVert^2$, summed over outputs and averaged over samples.

    >>> import torch
    >>> squared_error(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 0.0])).item()
    5.0
    """
    difference = outputs.reshape(len(outputs), -1) - targets.reshape(len(targets), -1).to(outputs)
    return difference.square().sum(1).mean()


def single_logit(logits: Float[Tensor, "n *one"]) -> Float[Tensor, " n"]:
    """Return the scores of a network with one output as a flat vector.

    Raises:
        InvalidInputError: The network has more than one output.

    >>> import torch
    >>> single_logit(torch.zeros(3, 1)).shape
    torch.Size([3])
    """
    if logits.ndim > 2 or (logits.ndim == 2 and logits.shape[1] != 1):
        raise InvalidInputError(
            f"a binary objective needs one logit per sample, got outputs of shape {tuple(logits.shape)}; "
            "use cross-entropy (the multiclass objective) for a network with several outputs"
        )
    return logits.reshape(-1)


def signs(y: Num[Tensor, " n"]) -> Num[Tensor, " n"]:
    """Map binary labels, in {0, 1} or already in {-1, 1}, to {-1, 1}.

    Raises:
        InvalidInputError: Any label is something else.

    >>> import torch
    >>> signs(torch.tensor([0, 1])).tolist()
    [-1, 1]
    """
    if ((y == 0) | (y == 1)).all():
        return 2 * y - 1
    if ((y == -1) | (y == 1)).all():
        return y
    raise InvalidInputError(
        f"binary labels must be 0 and 1, or -1 and 1; got {y.unique().tolist()[:8]}; relabel them first"
    )
