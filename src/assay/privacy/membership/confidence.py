"""Logit-scaled confidence of a label (Carlini et al., 2022, section IV-C)."""

from jaxtyping import Float, Num
from torch import Tensor

from assay.core import check_labels, signs, single_logit


def label_logits(logits: Float[Tensor, "n *c"], y: Num[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Return each label's own logit: $f_y$, or $s f$ for one logit.

    Args:
        logits: Scores of shape `(n, c)`; `(n, 1)` or `(n,)` for a binary network.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for a single logit.

    Raises:
        InvalidInputError: The labels do not fit the scores.

    >>> import torch
    >>> label_logits(torch.tensor([[2.0, 1.0], [0.5, -1.0]]), torch.tensor([0, 1])).tolist()
    [2.0, -1.0]
    """
    if logits.ndim == 1 or logits.shape[1] == 1:
        return signs(y).to(logits) * single_logit(logits)
    check_labels(y, logits.shape[1])
    return logits.gather(1, y[:, None]).squeeze(1)


def logit_confidence(logits: Float[Tensor, "n *c"], y: Num[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Return the log odds of each label, $\phi = \log\frac{p_y}{1-p_y} = f_y - \log\sum_{k\ne y} e^{f_k}$.

    Computed from the logits, so that it stays exact where $p_y$ rounds to one. For one logit it is $s f$.

    Args:
        logits: Scores of shape `(n, c)`; `(n, 1)` or `(n,)` for a binary network.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for a single logit.

    Raises:
        InvalidInputError: The labels do not fit the scores.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), section IV-C.

    >>> import torch
    >>> logit_confidence(torch.tensor([[3.0, 1.0]]), torch.tensor([0])).tolist()
    [2.0]
    """
    own = label_logits(logits, y)
    if logits.ndim == 1 or logits.shape[1] == 1:
        return own
    return own - logits.scatter(1, y[:, None], float("-inf")).logsumexp(1)
