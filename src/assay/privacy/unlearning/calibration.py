"""Calibration of the strength of logit subtraction (Ji et al., 2024, equation 2)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, preserved
from assay.privacy.unlearning.examples import QAExamples, answer_logits, check_language_model, token_logits
from assay.privacy.unlearning.logit_models import check_subtraction, log_ratio_to_uniform, relative_top_mask

RELATIVE_MARGIN = 1e-3
"""Relative distance of alpha above the tie of two tokens, so that rounding cannot revert their order."""


def calibrate_alpha(
    target: nn.Module,
    assistant: nn.Module,
    examples: QAExamples,
    *,
    forget_accuracy: float = 0.05,
    top_filter: float | None = None,
    batch_size: int = 64,
) -> float:
    r"""Return the smallest alpha at which the accuracy on answer tokens falls to a given value.

    Token y is the likeliest under $\ell - \alpha k$, with the target's logits $\ell$ and $k = \log(V p^a)$ of the
    assistant, for $\alpha$ in one interval: above $\frac{\ell_y - \ell_v}{k_y - k_v}$ for every v with $k_v > k_y$, and
    below it for every v with $k_v < k_y$. The accuracy as a function of $\alpha$ is counted from these intervals: the
    answer is exact, without a grid. With a filter, v runs over its tokens: those that `generate` chooses among.

    Cost: time of one pass of both models and O(m v + m log m), memory O(m + `batch_size` t v), for m answer tokens in
    sequences of t tokens.

    Args:
        target: The model before unlearning.
        assistant: The model to subtract.
        examples: A held-out part of the forget set. Check retained knowledge on examples that were used neither here
            nor in training.
        forget_accuracy: Largest share of answer tokens that may stay the likeliest, in [0, 1).
        top_filter: `top_filter` of the `LogitDifferenceModel`.
        batch_size: Examples a pass.

    Returns:
        Alpha, a thousandth above the exact tie; 0 where the target's own accuracy is low enough: it does not know the
        answers, and there is nothing to unlearn.

    Raises:
        InvalidInputError: A model does not fit the examples or returns probabilities; or no alpha reaches the accuracy,
            because the assistant does not know the answers.
        NumericalError: A logit of the target is NaN, or one of the assistant not finite.

    Source: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework from Logit
    Difference" (2024), equation 2; the paper chooses alpha by hand, the calibration is ours.

    >>> answers = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> target, assistant = (nn.Embedding.from_pretrained(certainty * answers) for certainty in (2.0, 4.0))
    >>> examples = QAExamples.from_tokens(torch.tensor([[0, 1]]), prompt_length=1)
    >>> round(calibrate_alpha(target, assistant, examples), 4)
    0.5005
    """
    if not 0 <= forget_accuracy < 1:
        raise InvalidInputError(f"forget_accuracy must lie in [0, 1), got {forget_accuracy!r}")
    check_subtraction(0.0, top_filter)
    check_count(batch_size, "batch_size")
    for model, name in ((target, "target"), (assistant, "assistant")):
        check_language_model(model, examples, name)
    lower, upper = [], []
    with preserved(target), preserved(assistant), torch.no_grad():
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            logits, tokens = answer_logits(token_logits(target, batch), batch.labels)
            of_assistant, _ = answer_logits(token_logits(assistant, batch), batch.labels)
            knowledge = log_ratio_to_uniform(logits, of_assistant)
            kept = None if top_filter is None else relative_top_mask(logits, top_filter)
            low, high = likeliest_interval(logits, knowledge, tokens, kept)
            lower.append(low)
            upper.append(high)
    return _smallest(torch.cat(lower), torch.cat(upper), forget_accuracy)


def likeliest_interval(
    logits: Float[Tensor, "m v"],
    knowledge: Float[Tensor, "m v"],
    tokens: Int[Tensor, " m"],
    kept: Bool[Tensor, "m v"] | None,
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Return the ends of the interval of alpha in which each token is the likeliest of those kept, empty if none."""
    lead = logits.gather(1, tokens[:, None]) - logits
    known = knowledge.gather(1, tokens[:, None]) - knowledge
    kept = torch.ones_like(lead, dtype=torch.bool) if kept is None else kept
    others = kept.scatter(1, tokens[:, None], value=False)
    tie = lead / known
    infinite = torch.full_like(tie, torch.inf)
    upper = tie.where(others & (known > 0), infinite).amin(1)
    lower = tie.where(others & (known < 0), -infinite).amax(1)
    # No alpha changes the order of two tokens that the assistant finds equally likely.
    behind = (others & (known == 0) & (lead <= 0)).any(1) | ~kept.gather(1, tokens[:, None]).squeeze(1)
    return lower.masked_fill(behind, torch.inf), upper


def _smallest(lower: Float[Tensor, " m"], upper: Float[Tensor, " m"], share: float) -> float:
    total = len(lower)
    ever = lower < upper
    lower, upper = lower[ever].sort().values, upper[ever].sort().values
    # The share falls at upper ends only.
    ends = upper[(upper > 0) & torch.isfinite(upper)] * (1 + RELATIVE_MARGIN)
    alphas = torch.cat([ends.new_zeros(1), ends])
    right = torch.searchsorted(lower, alphas) - torch.searchsorted(upper, alphas, right=True)
    enough = right <= share * total
    if not enough.any():
        raise InvalidInputError(
            f"at any alpha at least {int(right.min())} of {total} answer tokens stay the likeliest, but at most "
            f"{share:.0%} may; train the assistant longer or with a larger rank, until it knows the answers"
        )
    return alphas[enough][0].item()
