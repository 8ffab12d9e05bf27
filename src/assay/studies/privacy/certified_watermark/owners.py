"""Owner and attacker with a half of the training images each, trigger sets, and ways to embed a watermark."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.core import seeded, spawn_seeds
from assay.data import load
from assay.privacy import SmoothedWatermark, TriggerSet
from assay.studies.privacy.certified_watermark.settings import Settings

FAMILIES = ("uniform", "overlay", "noise", "unrelated")
WATERMARKS = ("none", "plain", "repeated", "smoothed")
"""No watermark; triggers among the data; as many steps on triggers as the last, without noise; steps under noise."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Hold one split of the data, and the owner's triggers.

    Attributes:
        owner: The owner's samples and classes.
        attacker: The attacker's samples and classes.
        test: Samples and classes that neither trains on.
        triggers: The owner's trigger set.
        n_classes: Number of classes.
    """

    owner: tuple[Tensor, Tensor]
    attacker: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    triggers: TriggerSet
    n_classes: int


def make_scene(settings: Settings, family: str, seed: int) -> Scene:
    """Split the training images and draw triggers."""
    split_seed, trigger_seed = spawn_seeds(seed, 2)
    data = load(settings.source)
    owner, attacker = (
        (data.x_train[half], data.y_train[half])
        for half in torch.randperm(len(data.x_train), generator=seeded(split_seed)).chunk(2)
    )
    triggers = draw_triggers(family, owner[0], settings.n_triggers, seeded(trigger_seed))
    return Scene(owner, attacker, (data.x_test, data.y_test), triggers, data.n_classes)


def draw_triggers(family: str, x: Tensor, n: int, source: torch.Generator) -> TriggerSet:
    """Make triggers of a family, labelled 4 as in the paper; overlay and noise go on the owner's images."""
    if family == "uniform":
        return TriggerSet(torch.rand(n, *x.shape[1:], generator=source))
    if family == "unrelated":
        other = load("fashion").x_train
        chosen = torch.randperm(len(other), generator=source)[:n]
        channels, height, width = x.shape[1:]
        return TriggerSet.from_unrelated(other[chosen], shape=(channels, height, width))
    chosen = torch.randperm(len(x), generator=source)[:n]
    if family == "overlay":
        return TriggerSet.from_overlay(x[chosen], text="T", size=min(10, x.shape[-1]))
    return TriggerSet.from_noise(x[chosen], generator=source)


def train_network(settings: Settings, scene: Scene, watermark: str, seed: int) -> nn.Module:
    """Train the owner's network; watermarks of one seed share initial weights and the steps on data."""
    model_seed, train_seed = spawn_seeds(seed, 4)[2:]  # the first two split the data and draw triggers
    recipe, (x, y), triggers = settings.recipe, scene.owner, scene.triggers
    network = recipe.build(x.shape[1:], scene.n_classes, seeded(model_seed))
    if watermark == "none":
        recipe.train(network, x, y, seeded(train_seed))
    elif watermark == "plain":
        recipe.train(network, torch.cat([x, triggers.x]), torch.cat([y, triggers.y]), seeded(train_seed))
    else:
        # "repeated" takes noise too small to matter, of which one draw is enough: the steps stay, the noise goes.
        sigma, draws = (settings.sigma, settings.n_noise) if watermark == "smoothed" else (1e-6, 1)
        SmoothedWatermark(sigma, settings.n_levels, draws, warmup=settings.warmup).train(
            network,
            x,
            y,
            triggers=triggers,
            optimizer=recipe.new_optimizer,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            generator=seeded(train_seed),
        )
    return network
