"""Logit-scaled confidence of a label (Carlini et al., 2022, section IV-C)."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core import InvalidInputError, LogProbabilities, check_labels, is_probabilities, signs, single_logit
from assay.core.evaluation import check_not_sigmoid


def label_logits(logits: Float[Tensor, "n *c"], y: Shaped[Tensor, "n *one"]) -> Float[Tensor, " n"]:
    r"""Return each label's own logit: $f_y$, or $s f$ for one logit.

    Args:
        logits: Scores of shape `(n, c)`; `(n, 1)` or `(n,)` for a binary network.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for a single logit, of shape `(n,)` or `(n, 1)`.

    Returns:
        The logits, in float32 where the scores are in half precision.

    Raises:
        InvalidInputError: The labels do not fit the scores, or the scores are probabilities.

    >>> import torch
    >>> label_logits(torch.tensor([[2.0, 1.0], [0.5, -1.0]]), torch.tensor([0, 1])).tolist()
    [2.0, -1.0]
    """
    logits, labels = _fitting(logits, y)
    if logits.ndim == 1:
        return labels.to(logits) * logits
    if is_probabilities(logits):
        raise InvalidInputError(
            "the rows of the scores are never negative and sum to one: they are probabilities, and logits are needed; "
            "take the softmax off, or wrap the model: nn.Sequential(model, assay.core.LogProbabilities())"
        )
    return logits.gather(1, labels[:, None]).squeeze(1)


def logit_confidence(logits: Float[Tensor, "n *c"], y: Shaped[Tensor, "n *one"]) -> Float[Tensor, " n"]:
    r"""Return the log odds of each label, $\phi = \log\frac{p_y}{1-p_y} = f_y - \log\sum_{k\ne y} e^{f_k}$.

    Computed from the logits, so that it stays exact where $p_y$ rounds to one. For one logit it is $s f$. Scores of
    several classes whose rows are never negative and sum to one are probabilities: their logarithms are logits.

    Args:
        logits: Scores of shape `(n, c)`; `(n, 1)` or `(n,)` for a binary network.
        y: Class indices, or binary labels in {0, 1} or {-1, 1} for a single logit, of shape `(n,)` or `(n, 1)`.

    Returns:
        The log odds, in float32 where the scores are in half precision.

    Raises:
        InvalidInputError: The labels do not fit the scores, or these are probabilities that round to zero or one, or
            those of a binary network behind a sigmoid.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), section IV-C.

    >>> import torch
    >>> logit_confidence(torch.tensor([[3.0, 1.0]]), torch.tensor([0])).tolist()
    [2.0]
    """
    logits, labels = _fitting(logits, y)
    if logits.ndim == 1:
        return labels.to(logits) * logits
    places = labels[:, None]
    if is_probabilities(logits):
        others = logits.scatter(1, places, 0.0).sum(1)
        if not ((others > 0) & (logits.gather(1, places).squeeze(1) > 0)).all():
            raise InvalidInputError(
                "the rows of the scores are probabilities (never negative, they sum to one), and some round to zero or "
                "one, so that their log odds are lost; pass the logits, with the softmax taken off the network"
            )
        logits = LogProbabilities()(logits)
    return logits.gather(1, places).squeeze(1) - logits.scatter(1, places, float("-inf")).logsumexp(1)


def _fitting(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (n, c) with class indices, or the scores (n,) of a binary network with signs."""
    if logits.ndim not in (1, 2) or y.ndim == 0 or len(logits) != len(y):
        raise InvalidInputError(
            f"scores have shape {tuple(logits.shape)}, labels {tuple(y.shape)}; give scores of shape (n, c), or (n,) "
            "for a binary network, and one label for each"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits, check_labels(y, logits.shape[1])
    logits, labels = single_logit(logits), signs(y)
    check_not_sigmoid(logits, labels)
    return logits, labels
