"""Unlearning losses of language models: reversed (Ji et al., 2024, section 2.3) and conventional (appendix A)."""

import math

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_positive
from assay.privacy.unlearning.examples import answer_logits, answer_nll


def divergence_from_uniform(logits: Float[Tensor, "m v"]) -> Float[Tensor, ""]:
    r"""Compute the mean of $\mathrm{KL}(U \,\|\, p) = -\frac1V \sum_v \log p_v - \log V$, 0 only for uniform p.

    >>> import torch
    >>> divergence_from_uniform(torch.ones(2, 5)).item()
    0.0
    """
    return (logits.logsumexp(-1) - logits.mean(-1)).mean() - math.log(logits.shape[-1])


def retain_divergence(
    logits: Float[Tensor, "n t v"], reference_logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"]
) -> Float[Tensor, ""]:
    r"""Compute the mean of $\mathrm{KL}(p_{ref} \,\|\, p)$ over answer tokens: the "KL" retain loss.

    Args:
        logits: Scores of the model on retain examples.
        reference_logits: Scores of the model before unlearning.
        labels: Tokens of the answers, -100 elsewhere.

    Raises:
        InvalidInputError: The shapes differ, or no token is asked for.

    Source: Ji et al. (2024), appendix A.2, equation 10, which writes $\mathrm{KL}(p \,\|\, p_{ref})$.

    >>> import torch
    >>> logits, labels = torch.randn(1, 2, 4), torch.tensor([[-100, 1]])
    >>> retain_divergence(logits, logits, labels).item()
    0.0
    """
    _check_alike(logits, reference_logits)
    now, _ = answer_logits(logits, labels)
    before, _ = answer_logits(reference_logits, labels)
    return F.kl_div(F.log_softmax(now, -1), F.log_softmax(before, -1), reduction="batchmean", log_target=True)


def _check_alike(logits: Tensor, reference: Tensor) -> None:
    """Require the scores of two models on the same tokens of one vocabulary."""
    if logits.shape != reference.shape:
        raise InvalidInputError(
            f"the model's logits have shape {tuple(logits.shape)}, the reference's {tuple(reference.shape)}; score the "
            "same examples with both"
        )


class ReversedUnlearningLoss(nn.Module):
    r"""Train an assistant to remember the forget set and to be uniform on the retain set.

    $\mathrm{CE}(p_a, y)$ on forget examples plus $\beta\,\mathrm{KL}(U \,\|\, p_a)$ on retain examples, both bounded
    below: the conventional objective with both signs reversed.

    Args:
        retain_weight: $\beta$. Paper: 6.5; its code: 5.

    Raises:
        InvalidInputError: `retain_weight` is negative or not finite.

    Source: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit
    Difference" (2024), section 2.3, equations 3 to 5, and appendix B.5. Their code averages the second term over all
    places; here only answer tokens count.

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
            forget_logits: The assistant's scores on forget examples (and paraphrases of them).
            forget_labels: Tokens of their answers, -100 elsewhere.
            retain_logits: Its scores on retain examples (and forget questions with wrong answers).
            retain_mask: Mask of their answer tokens; by default all but the first token.

        Raises:
            InvalidInputError: Labels or mask do not fit the scores, or hold no answer token.
        """
        remembered = F.cross_entropy(*answer_logits(forget_logits, forget_labels))
        answers = _retained(retain_logits, retain_mask)
        return remembered + self.retain_weight * divergence_from_uniform(answers)


def _retained(logits: Tensor, mask: Tensor | None) -> Float[Tensor, "m v"]:
    """Return the scores that predict the answer tokens of retain examples."""
    if logits.ndim != 3 or (mask is not None and mask.shape != logits.shape[:2]):
        given = "" if mask is None else f" and a mask of shape {tuple(mask.shape)}"
        raise InvalidInputError(
            f"retain_logits have shape {tuple(logits.shape)}{given}; give scores of shape (m, s, v) and a mask of "
            "(m, s)"
        )
    predicted = logits[:, :-1]
    answers = predicted.flatten(0, 1) if mask is None else predicted[mask.bool()[:, 1:]]
    if answers.numel() == 0:
        raise InvalidInputError("no token is asked of the retain examples; give examples of at least two tokens")
    return answers


class GradientAscentLoss(nn.Module):
    r"""Unlearn by gradient ascent on the cross-entropy: $-\mathrm{CE}(p, y)$ on forget examples, unbounded below.

    "GD" adds the mean `answer_nll` of retain examples, "KL" adds `retain_divergence`.

    Source: Jang et al., "Knowledge Unlearning for Mitigating Privacy Risks in Language Models" (2023), in the form of
    Ji et al. (2024), appendix A.1, equation 6.

    >>> import torch
    >>> round(GradientAscentLoss()(torch.zeros(1, 2, 4), torch.tensor([[-100, 3]])).exp().item(), 4)
    0.25
    """

    def forward(self, logits: Float[Tensor, "n t v"], labels: Int[Tensor, "n t"]) -> Float[Tensor, ""]:
        """Return the loss of scores on forget examples, given the tokens of their answers and -100 elsewhere.

        Raises:
            InvalidInputError: The labels do not fit the scores, or hold no answer token.
        """
        return -F.cross_entropy(*answer_logits(logits, labels))


class _PreferenceLoss(nn.Module):
    """Strength and form of a preference loss."""

    def __init__(self, beta: float = 0.1) -> None:
        super().__init__()
        check_positive(beta, "beta")
        self.beta = beta

    def _of_gain(self, gain: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        return -2 / self.beta * F.logsigmoid(self.beta * gain).mean()


class NPOLoss(_PreferenceLoss):
    r"""Unlearn by negative preference: $-\frac2\beta \log\sigma(\beta\,(\ell_\theta - \ell_{ref}))$.

    $\ell$ is the negative log-likelihood of a whole answer. The loss is bounded below by 0, and its gradient at the
    reference model is that of gradient ascent.

    Args:
        beta: $\beta$. Paper: 0.1.

    Raises:
        InvalidInputError: `beta` is not positive.

    Source: Zhang et al., "Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning" (2024),
    in the form of Ji et al. (2024), appendix A.1, equation 8.

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
        """Return the loss on forget examples; the reference is the model before unlearning.

        Raises:
            InvalidInputError: Labels, scores and reference do not fit each other, or an example has no answer token.
        """
        _check_alike(logits, reference_logits)
        gain = answer_nll(logits, labels, mean=False) - answer_nll(reference_logits, labels, mean=False)
        return self._of_gain(gain)


class RefusalDPOLoss(_PreferenceLoss):
    r"""Unlearn by preferring refusals: $-\frac2\beta \log\sigma\big(\beta\,(\Delta_{forget} - \Delta_{refusal})\big)$.

    $\Delta = \ell_\theta - \ell_{ref}$ of a whole answer, as in `NPOLoss`, which has no refusal.

    Args:
        beta: $\beta$. TOFU's code: 0.1.

    Raises:
        InvalidInputError: `beta` is not positive.

    Source: Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model" (2023), in
    the form of Ji et al. (2024), appendix A.1, equation 7, with the factor $2/\beta$ of TOFU's code instead of
    $1/\beta$.

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
        """Return the loss of the model's and the reference's scores on n true answers and n refusals.

        Raises:
            InvalidInputError: Scores, references and labels do not fit each other, or an example has no answer token.
        """
        _check_alike(forget_logits, forget_reference)
        _check_alike(refusal_logits, refusal_reference)
        if len(forget_logits) != len(refusal_logits):
            raise InvalidInputError(
                f"{len(forget_logits)} true answers, but {len(refusal_logits)} refusals; give one refusal for each"
            )
        forget = answer_nll(forget_logits, forget_labels, mean=False)
        forget = forget - answer_nll(forget_reference, forget_labels, mean=False)
        refusal = answer_nll(refusal_logits, refusal_labels, mean=False)
        refusal = refusal - answer_nll(refusal_reference, refusal_labels, mean=False)
        return self._of_gain(forget - refusal)
