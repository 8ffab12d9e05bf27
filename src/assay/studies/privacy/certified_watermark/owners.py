"""Owners and attackers with a half of the training images each, and networks with and without a watermark."""

from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from assay.core import cross_entropy, fit, seeded, spawn_seeds
from assay.data import load
from assay.nets import mlp
from assay.privacy import (
    SmoothedWatermark,
    TriggerSet,
)
from assay.privacy.watermark import (
    smoothed_trigger_accuracy,
)

FAMILIES = ("uniform", "overlay", "noise", "unrelated")
ARMS = ("none", "plain", "repeated", "smoothed")
"""No watermark; triggers among the data; as many steps on triggers as the last, without noise; steps under noise."""


@dataclass(frozen=True)
class Settings:
    """How networks are trained, certified and attacked.

    Radii are in multiples of sigma, budgets in units of the parameters.
    """

    seeds: int = 5
    source: str = "digits"
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 60
    learning_rate: float = 0.05
    batch_size: int = 64
    n_triggers: int = 20
    sigma: float = 0.3
    n_levels: int = 6
    n_noise: int = 20
    warmup: int = 10
    draws: int = 2000
    radii: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    attack_epochs: int = 30
    attack_lr: float = 1e-2
    ascent_steps: int = 30
    confined_epochs: int = 8
    budgets: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    forget_lrs: tuple[float, ...] = (1e-3, 1e-2)


@dataclass(frozen=True, eq=False)
class Scene:
    """One split of the data, and the networks that its owner may have trained.

    Attributes:
        networks: By arm.
        triggers: The owner's.
        attacker: The attacker's samples and classes.
        test: What neither trained on.
    """

    networks: dict[str, nn.Module]
    triggers: TriggerSet
    attacker: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def make_scene(settings: Settings, family: str, seed: int) -> Scene:
    """Split the training images, draw triggers and train a network for each arm."""
    split_seed, trigger_seed, model_seed, train_seed = spawn_seeds(seed, 4)
    data = load(settings.source)
    owner, attacker = torch.randperm(len(data.x_train), generator=seeded(split_seed)).chunk(2)
    x, y = data.x_train[owner], data.y_train[owner]
    triggers = draw_triggers(family, x, settings.n_triggers, seeded(trigger_seed))
    widths = (prod(x.shape[1:]), *settings.hidden, data.n_classes)
    networks: dict[str, nn.Module] = {}
    for arm in ARMS:
        networks[arm] = nn.Sequential(nn.Flatten(), *mlp(widths, generator=seeded(model_seed)))
        teach(networks[arm], arm, x, y, triggers, settings, seeded(train_seed))
    return Scene(networks, triggers, (data.x_train[attacker], data.y_train[attacker]), (data.x_test, data.y_test))


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


def teach(
    network: nn.Module,
    arm: str,
    x: Tensor,
    y: Tensor,
    triggers: TriggerSet,
    settings: Settings,
    source: torch.Generator,
) -> None:
    """Train a network in place as its arm says; all arms share data, initial weights and the ordinary epochs."""
    sgd = partial(torch.optim.SGD, lr=settings.learning_rate, momentum=0.9, weight_decay=1e-4)
    train = {"optimizer": sgd, "epochs": settings.epochs, "batch_size": settings.batch_size, "generator": source}
    if arm == "none":
        fit(network, x, y, loss=cross_entropy, **train)
    elif arm == "plain":
        fit(network, torch.cat([x, triggers.x]), torch.cat([y, triggers.y]), loss=cross_entropy, **train)
    else:
        # "repeated" takes noise too small to matter, of which one draw is enough: the steps stay, the noise goes.
        sigma, draws = (settings.sigma, settings.n_noise) if arm == "smoothed" else (1e-6, 1)
        embedding = SmoothedWatermark(sigma, settings.n_levels, draws, warmup=settings.warmup)
        embedding.train(network, x, y, triggers=triggers, **train)


def noisy_accuracies(settings: Settings, scene: Scene, network: nn.Module, seed: int) -> Tensor:
    """Draw a network's trigger accuracy under noise that nothing else uses."""
    options = {"sigma": settings.sigma, "n": settings.draws, "generator": seeded(seed)}
    return smoothed_trigger_accuracy(network, scene.triggers, **options)
