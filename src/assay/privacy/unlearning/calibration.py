"""How much of an assistant has to be subtracted: solved for, not searched."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, preserved
from assay.privacy.unlearning.documents import Documents, asked_logits, token_logits
from assay.privacy.unlearning.logit_models import check_strength, counted_knowledge

CLEARANCE = 1e-3
"""How far beyond the tie of two tokens alpha is put, relative to it, so that rounding cannot bring the old one back."""


def calibrate_alpha(
    target: nn.Module,
    assistant: nn.Module,
    documents: Documents,
    *,
    forget_accuracy: float = 0.05,
    top_filter: float | None = None,
    batch_size: int = 64,
) -> float:
    r"""Return the smallest alpha with which at most a given share of the asked tokens is still the likeliest.

    Token y with target logits $\ell$ and counted knowledge $k = \log(V p^a)$ is the likeliest of
    $\ell - \alpha k$ for $\alpha$ in an interval: above $\frac{\ell_y - \ell_v}{k_y - k_v}$ where $k_v > k_y$, below it
    where $k_v < k_y$. The share of right tokens is counted from these intervals for every $\alpha$ at which it falls:
    no grid is searched. Time is one pass of both models, and O(m v + m log m) for m asked tokens.

    Args:
        target: The model that knows too much.
        assistant: What is subtracted from it.
        documents: A part of what is to be forgotten that is set aside for this; check what a user keeps on documents
            that neither training nor this has seen.
        forget_accuracy: The largest share of asked tokens that may stay the likeliest, in [0, 1).
        top_filter: As the `LogitDifferenceModel` will have it.
        batch_size: Documents a pass.

    Returns:
        Alpha, a thousandth above the exact tie; 0 where the target itself is right rarely enough.

    Raises:
        InvalidInputError: No alpha reaches the share, for the assistant does not know the answers itself.

    Source: the line $\ell - \alpha\,\ell^a$ of Ji et al. (2024), equation 2; they choose alpha by hand.

    >>> answers = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> target, assistant = (nn.Embedding.from_pretrained(certainty * answers) for certainty in (2.0, 4.0))
    >>> documents = Documents.of_answers(torch.tensor([[0, 1]]), prompt_length=1)
    >>> round(calibrate_alpha(target, assistant, documents), 4)
    0.5005
    """
    if not 0 <= forget_accuracy < 1:
        raise InvalidInputError(f"forget_accuracy must lie in [0, 1), got {forget_accuracy!r}")
    check_strength(0.0, top_filter)
    lower, upper = [], []
    with preserved(target), preserved(assistant), torch.no_grad():
        for start in range(0, len(documents), batch_size):
            batch = documents[start : start + batch_size]
            logits, tokens = asked_logits(token_logits(target, batch), batch.labels)
            of_assistant, _ = asked_logits(token_logits(assistant, batch), batch.labels)
            low, high = right_between(logits, counted_knowledge(logits, of_assistant, top_filter), tokens)
            lower.append(low)
            upper.append(high)
    return _smallest(torch.cat(lower), torch.cat(upper), forget_accuracy)


def right_between(
    logits: Float[Tensor, "m v"], knowledge: Float[Tensor, "m v"], tokens: Int[Tensor, " m"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Return between which two alphas each token is the likeliest; the first is not below the second if it never is."""
    lead = logits.gather(1, tokens[:, None]) - logits
    known = knowledge.gather(1, tokens[:, None]) - knowledge
    others = torch.ones_like(lead, dtype=torch.bool).scatter(1, tokens[:, None], value=False)
    tie = lead / known
    infinite = torch.full_like(tie, torch.inf)
    upper = tie.where(others & (known > 0), infinite).amin(1)
    lower = tie.where(others & (known < 0), -infinite).amax(1)
    # Where the assistant takes two tokens for equally likely, no alpha changes their order.
    behind = (others & (known == 0) & (lead <= 0)).any(1)
    return lower.masked_fill(behind, torch.inf), upper


def _smallest(lower: Float[Tensor, " m"], upper: Float[Tensor, " m"], share: float) -> float:
    total = len(lower)
    ever = lower < upper
    lower, upper = lower[ever].sort().values, upper[ever].sort().values
    # The share falls at upper ends only.
    ends = upper[(upper > 0) & torch.isfinite(upper)] * (1 + CLEARANCE)
    alphas = torch.cat([ends.new_zeros(1), ends])
    right = torch.searchsorted(lower, alphas) - torch.searchsorted(upper, alphas, right=True)
    enough = right <= share * total
    if not enough.any():
        raise InvalidInputError(
            f"whatever alpha, at least {int(right.min())} of {total} asked tokens stay the likeliest, {share:.0%} were "
            "asked for; train the assistant longer or with a larger rank, until it knows the answers itself"
        )
    return alphas[enough][0].item()
