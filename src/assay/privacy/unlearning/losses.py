"""Losses that make a language model forget: the reversed one of an assistant, and the conventional ones."""

import math

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_positive
from assay.privacy.unlearning.documents import answer_nll, asked_logits


def uniformity(logits: Float[Tensor, "m v"]) -> Float[Tensor, ""]:
    r"""Compute $\mathrm{KL}(U \,\|\, p) = -\frac1V \sum_v \log p_v - \log V$, averaged; 0 for uniform answers only.

    >>> import torch
    >>> uniformity(torch.ones(2, 5)).item()
    0.0
    """
    return (logits.logsumexp(-1) - logits.mean(-1)).mean() - math.log(logits.shape[-1])


def retain_divergence(
    logits: Float[Tensor, "n t v"], reference_logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"]
) -> Float[Tensor, ""]:
    r"""Compute $\mathrm{KL}(p_{ref} \,\|\, p)$ at the asked tokens, averaged: the "KL" retain loss.

    >>> import torch
    >>> logits, labels = torch.randn(1, 2, 4), torch.tensor([[-100, 1]])
    >>> retain_divergence(logits, logits, labels).item()
    0.0
    """
    now, _ = asked_logits(logits, labels)
    before, _ = asked_logits(reference_logits, labels)
    return F.kl_div(F.log_softmax(now, -1), F.log_softmax(before, -1), reduction="batchmean", log_target=True)


class ReversedUnlearningLoss(nn.Module):
    r"""Make an assistant remember what is to be forgotten and know nothing of the rest.

    $\mathrm{CE}(p_a, y)$ on the forget documents plus $\beta\,\mathrm{KL}(U \,\|\, p_a)$ on the retain documents. Both
    terms are bounded below, unlike the conventional ones, which are turned around here.

    Args:
        retain_weight: $\beta$; the paper's code: 5.

    Source: Ji et al. (2024), equations 3 to 5. Their code averages the second term over all places, here only the asked
    tokens count.

    >>> import torch
    >>> loss = ReversedUnlearningLoss()
    >>> certain = 100 * torch.eye(3)[None, [1, 2]]
    >>> round(loss(certain, torch.tensor([[-100, 1]]), torch.zeros(1, 2, 3)).item(), 6)
    0.0
    """

    def __init__(self, retain_weight: float = 5.0) -> None:
        super().__init__()
        if not (math.isfinite(retain_weight) and retain_weight >= 0):
            raise InvalidInputError(f"retain_weight must be zero or a positive number, got {retain_weight!r}")
        self.retain_weight = retain_weight

    def forward(
        self,
        forget_logits: Float[Tensor, "n t v"],
        forget_labels: Int[Tensor, "n t"],
        retain_logits: Float[Tensor, "m s v"],
        retain_mask: Bool[Tensor, "m s"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss.

        Args:
            forget_logits: The assistant's scores on forget documents (and paraphrases of them).
            forget_labels: Their tokens, -100 where they are not asked for.
            retain_logits: Its scores on retain documents (and forget questions with wrong answers).
            retain_mask: Which tokens are asked for there; by default all but the first.
        """
        remembered = F.cross_entropy(*asked_logits(forget_logits, forget_labels))
        asked = retain_logits[:, :-1]
        chosen = asked.flatten(0, 1) if retain_mask is None else asked[retain_mask[:, 1:]]
        return remembered + self.retain_weight * uniformity(chosen)


class GradientAscentLoss(nn.Module):
    r"""Make a model forget by ascent: $-\mathrm{CE}(p, y)$ on the forget documents, which has no lower bound.

    "GD" adds the mean `answer_nll` of retain documents, "KL" adds `retain_divergence`.

    Source: Jang et al., "Knowledge Unlearning for Mitigating Privacy Risks in Language Models" (2023), a baseline of Ji
    et al. (2024).

    >>> import torch
    >>> round(GradientAscentLoss()(torch.zeros(1, 2, 4), torch.tensor([[-100, 3]])).exp().item(), 4)
    0.25
    """

    def forward(self, logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"]) -> Float[Tensor, ""]:
        """Return the loss: scores on forget documents, their tokens with -100 where they are not asked for."""
        return -F.cross_entropy(*asked_logits(logits, labels))


class _PreferenceLoss(nn.Module):
    """What both preference losses share: the strength, and how a gain in preference counts."""

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        check_positive(beta, "beta")
        self.beta = beta

    def _of_gain(self, gain: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        return -2 / self.beta * F.logsigmoid(self.beta * gain).mean()


class NPOLoss(_PreferenceLoss):
    r"""Make a model forget by negative preference, $-\frac2\beta \log\sigma(\beta\,(\ell_\theta - \ell_{ref}))$.

    $\ell$ is the negative log-likelihood of a whole answer. The loss is bounded below by 0, and its gradient is that of
    ascent where nothing is forgotten yet.

    Args:
        beta: $\beta$. Paper: 0.1.

    Source: Zhang et al., "Negative Preference Optimization" (2024), a baseline of Ji et al. (2024).

    >>> import torch
    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[-100, 3]])
    >>> round(NPOLoss(beta=2.0)(logits, labels, logits).exp().item(), 4)
    2.0
    """

    def forward(
        self,
        logits: Float[Tensor, "n t v"],
        labels: Int[Tensor, "n t"],
        reference_logits: Float[Tensor, "n t v"],
    ) -> Float[Tensor, ""]:
        """Return the loss on forget documents; the reference is the model as it was."""
        gain = answer_nll(logits, labels, mean=False) - answer_nll(reference_logits, labels, mean=False)
        return self._of_gain(gain)


class RefusalDPOLoss(_PreferenceLoss):
    r"""Make a model prefer refusals: $-\frac2\beta \log\sigma\big(\beta\,(\Delta_{forget} - \Delta_{refusal})\big)$.

    $\Delta = \ell_\theta - \ell_{ref}$ of a whole answer, as in `NPOLoss`, which leaves the refusal out.

    Args:
        beta: $\beta$. TOFU's code: 0.1.

    Source: Rafailov et al., "Direct Preference Optimization" (2023), with the factor $2/\beta$ of TOFU's code; a
    baseline of Ji et al. (2024).

    >>> import torch
    >>> forget, refusal = torch.randn(2, 1, 3, 4)
    >>> labels = torch.tensor([[-100, 1, 2]])
    >>> round(RefusalDPOLoss(beta=2.0)(forget, labels, forget, refusal, labels, refusal).exp().item(), 4)
    2.0
    """

    def forward(
        self,
        forget_logits: Float[Tensor, "n t v"],
        forget_labels: Int[Tensor, "n t"],
        forget_reference: Float[Tensor, "n t v"],
        refusal_logits: Float[Tensor, "n s v"],
        refusal_labels: Int[Tensor, "n s"],
        refusal_reference: Float[Tensor, "n s v"],
    ) -> Float[Tensor, ""]:
        """Return the loss: the true answers and refusals to the same n questions, by the model and the reference."""
        forget = answer_nll(forget_logits, forget_labels, mean=False)
        forget = forget - answer_nll(forget_reference, forget_labels, mean=False)
        refusal = answer_nll(refusal_logits, refusal_labels, mean=False)
        refusal = refusal - answer_nll(refusal_reference, refusal_labels, mean=False)
        return self._of_gain(forget - refusal)
