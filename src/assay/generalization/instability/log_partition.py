"""Penalty on the log-partition function of output logits, the z-loss (Wortsman et al., 2023)."""

import math

from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError


def z_loss(logits: Float[Tensor, "*rows c"], *, coefficient: float = 1e-4) -> Float[Tensor, ""]:
    r"""Compute $c\,\mathrm{mean}\,(\log Z)^2$ with $Z = \sum_j e^{y_j}$ over the last axis, to be added to the loss.

    Cross-entropy does not change when all logits of a row are shifted; the penalty keeps them near log-probabilities,
    for which $\log Z = 0$. Its gradient in $y_j$ is $2c \log Z\,\mathrm{softmax}(y)_j$ over the number of rows.

    Args:
        logits: Output logits; the mean is over all leading axes.
        coefficient: Weight c; 1e-4 as in the paper.

    Returns:
        The penalty.

    Raises:
        InvalidInputError: There are no logits, or the coefficient is negative or not finite.

    Cost: time O(rows c), as cross-entropy.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on output-logit divergence.

    >>> import torch
    >>> z_loss(torch.tensor([[0.5, 0.5]]).log()).item()
    0.0
    """
    if not (math.isfinite(coefficient) and coefficient >= 0):
        raise InvalidInputError(f"coefficient must be a finite number of at least 0, got {coefficient!r}")
    if logits.ndim == 0 or logits.numel() == 0:
        raise InvalidInputError(f"logits must have a last axis of classes and rows, got shape {tuple(logits.shape)}")
    return coefficient * logits.logsumexp(-1).square().mean()
