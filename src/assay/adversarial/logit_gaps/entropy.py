"""Entropy-regularised cross-entropy (Cubuk et al., 2017)."""

import math

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, check_labels


class EntropyRegularizedLoss(nn.Module):
    r"""Compute $\frac1n\sum_i \big(-\log p_{y_i}(x_i) + \lambda H(p(x_i))\big)$ with $H(p) = -\sum_k p_k\log p_k$.

    A positive weight lowers the entropy of the predictions and widens the gaps between scores. A negative weight gives
    the confidence penalty, which is similar to label smoothing.

    The paper reports that lower entropy increases robustness; the study `logit-difference-universality` measures both
    signs.

    Args:
        weight: $\lambda$, of either sign.

    Raises:
        InvalidInputError: The weight is not finite.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: the entropy
    regulariser. Its form here is the usual one; the paper's scale of the weight is not known to us.

    >>> import torch
    >>> loss = EntropyRegularizedLoss(weight=1.0)
    >>> round(loss(torch.zeros(1, 4), torch.tensor([2])).item(), 4) == round(2 * math.log(4), 4)
    True
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not math.isfinite(weight):
            raise InvalidInputError(f"weight must be a finite number, got {weight}")
        self.weight = weight

    def forward(self, logits: Float[Tensor, "n c"], y: Shaped[Tensor, "n *one"]) -> Float[Tensor, ""]:
        """Return the mean loss over a batch.

        Args:
            logits: Class scores.
            y: Class indices.

        Raises:
            InvalidInputError: There is not one label in the range for each row of scores.
        """
        if logits.ndim != 2 or len(logits) == 0 or y.shape[:1] != logits.shape[:1]:
            raise InvalidInputError(
                f"the loss needs scores of shape (n, c) and n labels, got {tuple(logits.shape)} and {tuple(y.shape)}; "
                "pass one label for each row of scores"
            )
        y = check_labels(y, logits.shape[1])
        log_p = logits.log_softmax(1)
        likelihood = log_p.gather(1, y[:, None]).squeeze(1)
        return -(likelihood + self.weight * (log_p.exp() * log_p).sum(1)).mean()

    def extra_repr(self) -> str:
        """Return the weight for the module's repr."""
        return f"weight={self.weight}"
