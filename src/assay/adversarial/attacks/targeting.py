"""Target classes ranked by distance or by confidence (Melamed, Yehudai and Shamir, 2024, algorithm 1)."""

import math

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.door import attackable, check_attackable
from assay.adversarial.attacks.threat import check_norm, dual_norms
from assay.core import InvalidInputError, NumericalError, batched, check_count, predict, preserved
from assay.core.derivatives import pull_back, refusals

CLASSES_AT_ONCE = 8  # Cotangents under one vmap: enough to fill vector units, few enough to bound memory.


def malt_scores(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
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
        norm: The attack's $p$: 1, 2 or `math.inf`; the gradient is measured in its dual.
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
    check_norm(norm)
    check_count(candidates, "candidates")
    check_count(batch_size, "batch_size")
    with attackable(model, x, y) as given:
        batches = zip(given.x.split(batch_size), given.y.split(batch_size), strict=True)
        scores = torch.cat([_score_batch(given.model, *batch, norm, candidates)[0] for batch in batches])
        undefined = int(scores.isnan().any(1).sum())
    if undefined:
        raise NumericalError(
            f"the gradient of the model's scores is NaN or infinite at {undefined} of {len(scores)} samples; leave "
            "these out, or try float64 inputs and weights"
        )
    return scores


def malt_targets(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    k: int = 9,
    norm: float = math.inf,
    candidates: int = 100,
    batch_size: int = 64,
) -> Int[Tensor, "n k"]:
    """Rank the target classes by `malt_scores`, nearest first; of equal scores the likelier class comes first.

    Classes whose gradient vanishes or is not finite come last. Where that is so for all classes the ranking is that by
    confidence; `run_attack`, `MALT` and `robust_accuracy` report such gradient masking.

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

    Cost: that of `malt_scores`.

    Source: Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), algorithm 1.

    >>> malt_targets(nn.Linear(2, 4), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long), k=2).shape
    torch.Size([5, 2])
    """
    check_norm(norm)
    check_count(candidates, "candidates")
    check_count(k, "k")
    check_count(batch_size, "batch_size")
    ranked = []
    with attackable(model, x, y) as given:
        for batch in zip(given.x.split(batch_size), given.y.split(batch_size), strict=True):
            scores, by_confidence = _score_batch(given.model, *batch, norm, candidates)
            nearest_first = scores.nan_to_num(nan=math.inf, posinf=math.inf).gather(1, by_confidence)
            order = nearest_first.argsort(dim=1, stable=True)
            ranked.append(by_confidence.gather(1, order)[:, : min(k, given.n_outputs - 1)])
        return torch.cat(ranked)


def naive_targets(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"], *, k: int = 9, batch_size: int = 256
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
    check_count(k, "k")
    check_count(batch_size, "batch_size")
    x, y, n_classes = check_attackable(model, x, y)
    with preserved(model):
        return _by_confidence(predict(model, x, batch_size=batch_size, look=False), y)[:, : min(k, n_classes - 1)]


def _score_batch(
    model: nn.Module, x: Tensor, y: Tensor, norm: float, candidates: int
) -> tuple[Float[Tensor, "n c"], Int[Tensor, "n c"]]:
    """Return the scores of one batch, NaN where a gradient is not finite, and its classes by confidence, `y` last."""
    point = x.detach().requires_grad_()
    with refusals():
        traced = model(point)
    if not traced.requires_grad:
        raise InvalidInputError(
            "autograd finds no way from the model's scores to its inputs; remove torch.no_grad(), .detach() and .data "
            "from the forward pass"
        )
    logits = traced.detach()
    by_confidence = _by_confidence(logits, y)
    candidate_classes = by_confidence[:, : min(candidates, logits.shape[1] - 1)]
    unit = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)

    def norm_towards(classes: Tensor) -> Tensor:
        return dual_norms(pull_back([traced], [point], [unit[classes] - unit[y]])[0], norm)

    norms = batched(norm_towards, 1, 1, batch_size=CLASSES_AT_ONCE)(candidate_classes)
    gaps = logits.gather(1, y[:, None]) - logits.gather(1, candidate_classes)
    distances = torch.where(norms > 0, gaps / norms, math.inf).masked_fill(~norms.isfinite(), math.nan)
    return torch.full_like(logits, math.inf).scatter(1, candidate_classes, distances), by_confidence


def _by_confidence(logits: Tensor, y: Tensor) -> Tensor:
    """Order all classes from the highest score to the lowest, with `y` at the end."""
    return logits.scatter(1, y[:, None], -math.inf).argsort(dim=1, descending=True, stable=True)
