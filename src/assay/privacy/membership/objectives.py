"""Objectives of canary queries, one value for each query and shadow model (Wen et al., 2023)."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from assay.core import InvalidInputError, check_choice, check_flags, signs, single_logit
from assay.privacy.membership.confidence import label_logits

CanaryObjective = Literal["target_logits", "cross_entropy", "reversed_cross_entropy", "carlini_wagner"]

_LOWEST_MARGIN = -5.0
"""Margin, with the sign reversed, beyond which a canary is no longer pushed. Released code: -5."""


def canary_objective(
    model: nn.Module,
    queries: Float[Tensor, "n q *d"],
    y: Shaped[Tensor, "n *one"],
    members: Shaped[Tensor, " n"],
    *,
    target_logits: tuple[float, float] = (10.0, 0.0),
    objective: CanaryObjective = "target_logits",
    others: Int[Tensor, "n q"] | None = None,
) -> Float[Tensor, "n q"]:
    r"""Return how far a shadow model's answers are from those wanted of models that saw a sample, or did not see it.

    With label y, another class $y'$ and probabilities p of the logits h, the value is for members and for non-members

    - "target_logits": $(h_y - a)^2$ and $(h_y - b)^2$;
    - "cross_entropy": $-\log p_y$ and $-\log p_{y'}$;
    - "reversed_cross_entropy": $-\log p_y$ and $-\log(1 - p_y)$;
    - "carlini_wagner": $\max(\max_{k \ne y} h_k - h_y, -5)$, and the same with $y'$ in the place of y.

    Differentiable in the queries; the model is called as it is.

    Args:
        model: One shadow model.
        queries: Variants of n samples.
        y: Their labels.
        members: Which samples the model was trained on.
        target_logits: a and b, label logits wanted for members and for non-members.
        objective: One of the four.
        others: $y'$ for each query, which "cross_entropy" and "carlini_wagner" need; of networks with one logit, which
            have one other class, it is not asked.

    Raises:
        InvalidInputError: The labels do not fit the model's scores, these are probabilities, the objective is unknown,
            or it lacks the other classes.

    Source: Wen et al., "Canary in a Coalmine" (2023), main text, one term of the equation in `CanaryAttack`, and the
    alternatives of its released code. Its fifth, a Kullback-Leibler divergence, has no implementation there.

    >>> y, members = torch.tensor([0, 1]), torch.tensor([True, False])
    >>> canary_objective(nn.Identity(), 2 * torch.eye(2)[:, None], y, members, target_logits=(3.0, 0.0)).tolist()
    [[1.0], [4.0]]
    """
    check_choice(objective, get_args(CanaryObjective), "objective")
    n, q = queries.shape[:2]
    scores, labels, seen = model(queries.flatten(0, 1)), y.repeat_interleave(q), check_flags(members, "members")
    of_label = label_logits(scores, labels).view(n, q)
    if objective == "target_logits":
        wanted = torch.where(seen, *(of_label.new_tensor(each) for each in target_logits))
        return (of_label - wanted[:, None]).square()
    logits, labels = _of_classes(scores, labels)
    if objective == "reversed_cross_entropy":
        inside, outside = F.cross_entropy(logits, labels, reduction="none"), _log_odds(logits, labels)
        return inside.view(n, q).where(seen[:, None], F.softplus(outside).view(n, q))
    away = _other_classes(scores, labels, others)
    toward = labels.where(seen.repeat_interleave(q), away)
    if objective == "cross_entropy":
        return F.cross_entropy(logits, toward, reduction="none").view(n, q)
    places = toward[:, None]
    best = logits.scatter(1, places, -torch.inf).amax(1)
    return (best - logits.gather(1, places).squeeze(1)).clamp(min=_LOWEST_MARGIN).view(n, q)


def _of_classes(scores: Tensor, labels: Tensor) -> tuple[Float[Tensor, "m c"], Int[Tensor, " m"]]:
    """Return logits of two classes or more, and class indices; one logit becomes half of it and of its negative."""
    if scores.ndim == 2 and scores.shape[1] > 1:
        return scores.to(torch.promote_types(scores.dtype, torch.float32)), labels.long()
    logit = single_logit(scores)
    return torch.stack([-logit, logit], 1) / 2, (signs(labels) > 0).long()


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    places = labels[:, None]
    return logits.gather(1, places).squeeze(1) - logits.scatter(1, places, -torch.inf).logsumexp(1)


def _other_classes(scores: Tensor, labels: Tensor, others: Tensor | None) -> Int[Tensor, " m"]:
    if scores.ndim < 2 or scores.shape[1] < 2:
        return 1 - labels
    if others is None:
        raise InvalidInputError("this objective pulls non-members to another class; pass others=, one for each query")
    return others.flatten()
