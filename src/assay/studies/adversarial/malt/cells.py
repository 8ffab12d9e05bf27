"""Attacks on the robust networks: both rankings of targets, distances to classes, and almost linearity."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from assay.adversarial import MALT, Lp, TargetedAPGD, almost_linearity, malt_scores
from assay.adversarial.attacks import naive_targets
from assay.core import predict, preserved, seeded
from assay.studies.adversarial.malt.networks import build, image_pairs
from assay.studies.adversarial.malt.settings import Settings

SHARES = tuple(0.1 * tenth for tenth in range(1, 11))
"""Parts of a perturbation at which the gradient is taken."""


def load_network(
    settings: Settings, seed: int, weights: dict[str, Tensor], n: int | None = None
) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network of one seed, and its first test pairs with their labels (all of them by default)."""
    model = build(settings.recipe, seeded(seed))
    model.load_state_dict(weights)
    x, y = image_pairs(settings.sources, "test", settings.n_test, seeded(seed + 1))
    return model.eval(), x[:n], y[:n]


def targeted_attack(settings: Settings) -> TargetedAPGD:
    """Return the attack that every ranking of targets drives."""
    return TargetedAPGD(Lp(norm=math.inf, eps=settings.eps, input_range=(0.0, 1.0)), n_iter=settings.n_iter)


def compare_rankings(settings: Settings, seed: int, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Run both rankings with the same attack; return the success after 1, 2, ... targets."""
    model, x, y = load_network(settings, seed, weights)
    found: dict[str, Any] = {"clean": (predict(model, x).argmax(1) == y).double().mean().item()}
    for ranking in ("malt", "naive"):
        result = MALT(targeted_attack(settings), k=settings.n_targets, ranking=ranking).run(model, x, y)
        hit = result.target >= 0
        tried = range(1, settings.n_targets + 1)
        found[ranking] = [(hit & (result.n_targets <= k)).double().mean().item() for k in tried]
        found[f"{ranking} passes"] = result.n_forward + result.n_backward
    return found


def correlate_with_distance(settings: Settings, seed: int, weights: dict[str, Tensor]) -> dict[str, float]:
    """Correlate each sample's ranking of its 20 likeliest classes with the distances that a strict attack finds."""
    model, x, y = load_network(settings, seed, weights)
    correct = (predict(model, x).argmax(1) == y).nonzero().squeeze(1)[: settings.ladder_points]
    x, y = x[correct], y[correct]
    classes = naive_targets(model, x, y, k=20)
    pairs_x, targets = x.repeat_interleave(20, 0), classes.flatten()
    distances = distances_to(model, pairs_x, targets, targeted_attack(settings)).view(-1, 20)
    logits = predict(model, x)
    gaps = (logits.gather(1, y[:, None]) - logits).gather(1, classes)
    scores = malt_scores(model, x, y).gather(1, classes)
    return {"malt": mean_spearman(scores, distances), "gap": mean_spearman(gaps, distances)}


def distances_to(model: nn.Module, x: Tensor, target: Tensor, attack: TargetedAPGD) -> Tensor:
    """Bisect the smallest of 64 radii, each 7.5% above the last, at which an attack reaches the target itself."""
    ladder = 0.005 * 1.075 ** torch.arange(64)
    low, high = torch.zeros_like(target), torch.full_like(target, 64)  # 64: out of reach
    while (low < high).any():
        middle = (low + high) // 2
        for level in middle[low < high].unique():
            rows = ((middle == level) & (low < high)).nonzero().squeeze(1)
            threat = replace(attack.threat, eps=ladder[level].item())
            strict = replace(attack, threat=threat, loss="ce", strict_target=True)
            reached = predict(model, strict(model, x[rows], target[rows])).argmax(1) == target[rows]
            high[rows] = torch.where(reached, level, high[rows])
            low[rows] = torch.where(reached, low[rows], level + 1)
    return low.double()


def mean_spearman(ranked: Tensor, by: Tensor) -> float:
    """Return Spearman's rank correlation of each row of one matrix with that of the other, averaged."""
    each: list[Any] = [spearmanr(a, b) for a, b in zip(ranked, by, strict=True)]
    return float(np.mean([pair.statistic for pair in each]))


def linearise(settings: Settings, seed: int, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Test how far the first-order picture of a robust network holds on the way to its adversarial points."""
    model, x, y = load_network(settings, seed, weights, settings.subset)
    result = MALT(targeted_attack(settings), k=settings.n_targets).run(model, x, y)
    hit = result.target >= 0
    x, step = x[hit], (result.x_adv - x)[hit]
    attacked = predict(model, x + step).argmax(1)
    with preserved(model):
        logits, slope = torch.func.jvp(model, (x,), (step,))[:2]
    pixels = step.flatten(1)
    shuffled = pixels.gather(1, torch.rand(pixels.shape, generator=seeded(seed)).argsort(1)).view_as(step)

    def gradient_change(direction: Tensor) -> Tensor:
        curve = almost_linearity(model, x, direction, torch.tensor(SHARES), torch.stack([attacked, y[hit]], 1))
        return curve.gradient_change.double().mean(0)

    return {
        "predicted": ((logits + slope).argmax(1) == attacked).double().mean().item(),
        "adversarial": gradient_change(step),
        "shuffled": gradient_change(shuffled),
    }
