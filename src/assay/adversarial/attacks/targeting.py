"""Target classes ranked by distance or by confidence (Melamed, Yehudai and Shamir, 2024, algorithm 1)."""

import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import vjp, vmap

from assay.adversarial.attacks.base import check_attackable, check_norm, dual_norms
from assay.core import check_count, check_finite, predict, preserved

CLASSES_AT_ONCE = 8  # Cotangents under one vmap: enough to fill vector units, few enough to bound memory.


class GradientMaskingWarning(UserWarning):
    """The gradient towards every class vanishes at some samples; their targets are ranked by confidence."""


def malt_scores(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    norm: float = math.inf,
    candidates: int = 100,
    batch_size: int = 64,
) -> Float[Tensor, "n c"]:
    r"""Estimate the distance from each sample to each class to first order.

    $$s_k(x) = \frac{f_y(x) - f_k(x)}{\lVert \nabla_x (f_k - f_y)(x)\rVert_q}, \qquad \tfrac1p + \tfrac1q = 1.$$

    For a linear network this is the smallest $\lVert\delta\rVert_p$ at which the score of $k$ reaches that of $y$.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs.
        y: True labels; the model should predict them (a misclassified sample has negative scores).
        norm: The attack's $p$, 2 or `math.inf`; the gradient is measured in its dual.
        candidates: Classes to score, those with the highest logits. Paper: 100.
        batch_size: Samples differentiated at once, eight classes at a time.

    Returns:
        Scores in units of the input; infinite for `y` itself, for other classes than the candidates and where the
        gradient vanishes.

    Raises:
        InvalidInputError: The arguments do not fit each other.

    Cost: time one forward pass and `candidates` vector-Jacobian products a sample, memory 8 `batch_size` input
    gradients.

    Source: Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), algorithm 1. Deviations from the
    released code: classes with a vanishing gradient rank last (there they score 0 and rank first), and both the gap and
    the gradient are taken from `y`.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    >>> malt_scores(layer, torch.tensor([[3.0, 0.0]]), torch.tensor([0]))
    tensor([[inf, 3.]])
    """
    check_attackable(model, x, y)
    check_norm(norm)
    check_count(candidates, "candidates")
    batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
    with preserved(model):
        return torch.cat([_score_batch(model, *batch, norm, candidates)[0] for batch in batches])


def malt_targets(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    k: int = 9,
    norm: float = math.inf,
    candidates: int = 100,
    batch_size: int = 64,
) -> Int[Tensor, "n k"]:
    """Rank the target classes by `malt_scores`, nearest first; of equal scores the likelier class comes first.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs.
        y: True labels.
        k: Targets a sample; at most all classes but `y`. Paper: 9.
        norm: As for `malt_scores`.
        candidates: As for `malt_scores`.
        batch_size: As for `malt_scores`.

    Returns:
        Class indices, one row a sample.

    Raises:
        InvalidInputError: The arguments do not fit each other.

    Warns:
        GradientMaskingWarning: The gradient towards every class vanishes at some samples, ranked by confidence.

    Cost: that of `malt_scores`.

    Source: Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), algorithm 1.

    >>> malt_targets(nn.Linear(2, 4), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long), k=2).shape
    torch.Size([5, 2])
    """
    n_classes = check_attackable(model, x, y)
    check_norm(norm)
    check_count(candidates, "candidates")
    check_count(k, "k")
    k = min(k, n_classes - 1)
    ranked, n_masked = [], 0
    with preserved(model):
        for batch in zip(x.split(batch_size), y.split(batch_size), strict=True):
            scores, by_confidence = _score_batch(model, *batch, norm, candidates)
            nearest_first = scores.gather(1, by_confidence).argsort(dim=1, stable=True)
            ranked.append(by_confidence.gather(1, nearest_first)[:, :k])
            n_masked += int(scores.isinf().all(1).sum())
    if n_masked:
        warnings.warn(
            f"the gradient towards every class vanishes at {n_masked} of {len(x)} samples (masked or saturated "
            "gradients): their targets are ranked by confidence, and gradient attacks will understate the risk",
            GradientMaskingWarning,
            stacklevel=2,
        )
    return torch.cat(ranked)


def naive_targets(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"], *, k: int = 9, batch_size: int = 256
) -> Int[Tensor, "n k"]:
    """Rank the target classes by confidence, highest score first, as AutoAttack does.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs.
        y: True labels.
        k: Targets a sample; at most all classes but `y`.
        batch_size: Samples a forward pass.

    Returns:
        Class indices, one row a sample.

    Raises:
        InvalidInputError: The arguments do not fit each other.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), section 5: the targeted attacks.

    >>> naive_targets(nn.Linear(2, 4), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long), k=2).shape
    torch.Size([5, 2])
    """
    n_classes = check_attackable(model, x, y)
    check_count(k, "k")
    return _by_confidence(predict(model, x, batch_size=batch_size), y)[:, : min(k, n_classes - 1)]


def _score_batch(
    model: nn.Module, x: Tensor, y: Tensor, norm: float, candidates: int
) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """Return the scores of one batch and its classes in order of confidence, `y` last."""
    logits, pull_back = vjp(model, x)[:2]
    by_confidence = _by_confidence(logits, y)
    candidate_classes = by_confidence[:, : min(candidates, logits.shape[1] - 1)]
    unit = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)

    def norm_towards(classes: Tensor) -> Tensor:
        return dual_norms(pull_back(unit[classes] - unit[y])[0], norm)

    norms = vmap(norm_towards, in_dims=1, out_dims=1, chunk_size=CLASSES_AT_ONCE)(candidate_classes)
    check_finite(norms, "gradients of the model's scores in its input")
    gaps = logits.gather(1, y[:, None]) - logits.gather(1, candidate_classes)
    distances = torch.where(norms > 0, gaps / norms, math.inf)
    return torch.full_like(logits, math.inf).scatter(1, candidate_classes, distances), by_confidence


def _by_confidence(logits: Tensor, y: Tensor) -> Tensor:
    """Order all classes from the highest score to the lowest, with `y` at the end."""
    return logits.scatter(1, y[:, None], -math.inf).argsort(dim=1, descending=True, stable=True)
