"""Pools of images, networks trained on halves of them, and canaries judged by networks that crafted none."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from assay.core import accuracy, predict, seeded, spawn_seeds
from assay.data import load
from assay.nets import Recipe
from assay.privacy import CanaryAttack, ShadowEnsemble
from assay.privacy.membership import canary_objective
from assay.studies.privacy.canary_membership.settings import Settings


@dataclass(frozen=True, eq=False)
class Pool:
    """Images, and three ensembles that were trained on parts of them drawn apart.

    Attributes:
        x: Images.
        y: Their classes.
        shadows: What the attacks know.
        judges: What canaries are judged on before the attack.
        targets: What is attacked.
    """

    x: Tensor
    y: Tensor
    shadows: ShadowEnsemble
    judges: ShadowEnsemble
    targets: ShadowEnsemble

    def targets_accuracy(self, *, members: bool) -> float:
        """Return the targets' mean accuracy on what they were trained on, or on the rest."""
        pairs = zip(self.targets.models, self.targets.membership == members, strict=True)
        return float(np.mean([accuracy(predict(model, self.x[part]), self.y[part]) for model, part in pairs]))


def train_pool(settings: Settings, recipe: Recipe, seed: int) -> Pool:
    """Draw a pool and train its shadows, judges and targets by one recipe."""
    draw_seed, *seeds = spawn_seeds(seed, 4)
    data = load(settings.source)
    chosen = torch.randperm(len(data.y_train), generator=seeded(draw_seed))[: settings.pool]
    x, y = data.x_train[chosen], data.y_train[chosen]
    build = recipe.builder(x.shape[1:], data.n_classes)
    fit = partial(ShadowEnsemble.fit, x, y, model_fn=build, trainer=recipe.stacked_trainer())
    counts = (settings.shadows, settings.judges, settings.targets)
    return Pool(x, y, *(fit(n_models=n, random_state=own) for n, own in zip(counts, seeds, strict=True)))


def judge(pool: Pool, attack: CanaryAttack, queries: Tensor, source: torch.Generator) -> dict[str, Tensor]:
    """Compare the objective at canaries with that at the samples and at noise, on models that crafted nothing.

    Returns:
        The objective as a fraction of that at the samples, and of that at uniform noise of the same radius; the mean
        distance between two canaries of a sample and the largest one from the sample, in radii.
    """
    noise = attack.eps * (2 * torch.rand(queries.shape, generator=source) - 1)
    noisy = (pool.x[:, None] + noise).clamp(*attack.input_range)
    target_logits = attack.target_logits_for(pool.x, pool.y)

    def objective(candidates: Tensor) -> Tensor:
        pairs = zip(pool.judges.models, pool.judges.membership, strict=True)
        with torch.no_grad():
            misses = [
                canary_objective(model, candidates, pool.y, seen, target_logits=target_logits).mean()
                for model, seen in pairs
            ]
        return torch.stack(misses).mean()

    crafted = objective(queries)
    pairs = combinations(queries.unbind(1), 2)
    return {
        "to-sample": crafted / objective(pool.x[:, None]),
        "to-noise": crafted / objective(noisy),
        "apart": torch.stack([distance(one, other) for one, other in pairs]).mean() / attack.eps,
        "farthest": torch.stack([distance(each, pool.x) for each in queries.unbind(1)]).max() / attack.eps,
    }


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the largest difference of two images, pair by pair."""
    return (one - other).flatten(1).abs().amax(1)
