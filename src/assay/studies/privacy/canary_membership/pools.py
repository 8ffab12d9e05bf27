"""Pools of images, the networks trained on halves of them, and what canaries do to networks that made none."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from assay.core import (
    StackedTrainer,
    accuracy,
    cross_entropy,
    predict,
    seeded,
    spawn_seeds,
)
from assay.data import load
from assay.nets import mlp, small_conv
from assay.privacy import (
    CanaryAttack,
    ShadowEnsemble,
)
from assay.privacy.membership import (
    canary_objective,
)


@dataclass(frozen=True)
class Recipe:
    """How the networks of one kind are built and trained; without channels they are perceptrons."""

    channels: tuple[int, ...] | None
    hidden: int
    epochs: int
    learning_rate: float
    batch_size: int


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


def train_pool(source: str, size: int, counts: tuple[int, int, int], recipe: Recipe, seed: int) -> Pool:
    """Draw a pool and train shadows, judges and targets, as many as `counts` says."""
    draw_seed, *seeds = spawn_seeds(seed, 4)
    data = load(source)
    chosen = torch.randperm(len(data.y_train), generator=seeded(draw_seed))[:size]
    x, y = data.x_train[chosen], data.y_train[chosen]
    channels, height, width = x.shape[1:]
    build = builder(recipe, (channels, height, width), data.n_classes)
    adam = partial(torch.optim.Adam, lr=recipe.learning_rate)
    trainer = StackedTrainer(cross_entropy, adam, epochs=recipe.epochs, batch_size=recipe.batch_size)
    fit = partial(ShadowEnsemble.fit, x, y, model_fn=build, trainer=trainer)
    return Pool(x, y, *(fit(n_models=n, random_state=own) for n, own in zip(counts, seeds, strict=True)))


def builder(recipe: Recipe, shape: tuple[int, int, int], n_classes: int) -> Callable[[torch.Generator], nn.Module]:
    """Return a function that builds one untrained network from a generator."""

    def build(source: torch.Generator) -> nn.Module:
        if recipe.channels is None:
            return nn.Sequential(nn.Flatten(), *mlp((math.prod(shape), recipe.hidden, n_classes), generator=source))
        return small_conv(shape, n_classes, channels=recipe.channels, hidden=recipe.hidden, generator=source)

    return build


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
