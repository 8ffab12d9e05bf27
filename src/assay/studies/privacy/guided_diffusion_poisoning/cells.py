"""One target of the study of poisons from scratch: bases, poisons, and victims that train on them."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from assay.core import accuracy, predict, seeded, spawn_seeds
from assay.nets.diffusion import (
    GuidedDDIMSampler,
)
from assay.privacy import (
    BullseyePolytope,
    FeatureCollision,
    GuidedDiffusionPoisoner,
    PoisonGoal,
    WitchesBrew,
    evaluate_poison,
)
from assay.privacy.poisoning import (
    PoisonAttack,
    gradient_alignment_loss,
    poison_target_gradient,
)
from assay.studies.privacy.guided_diffusion_poisoning import worlds
from assay.studies.privacy.guided_diffusion_poisoning.worlds import World

MODELS = ("mixture", "unet")
BASES = ("random", "best", "synthesised")
ATTACKS: dict[str, type[PoisonAttack]] = {
    "gradient matching": WitchesBrew,
    "feature collision": FeatureCollision,
    "bullseye polytope": BullseyePolytope,
}


@dataclass(frozen=True)
class Settings:
    """How poisons are made and tried; pairs are for the mixture and for the UNet.

    Networks are perceptrons, or have convolutions below one hidden layer. `backdoors` are tried with the mixture.
    """

    targets: tuple[int, int] = (20, 5)
    backdoors: int = 10
    victims: int = 3
    sources: tuple[str, str] = ("digits", "mnist")
    sizes: tuple[int, int] = (8, 14)
    n_clean: int = 1200
    n_poisons: int = 40
    convolutions: tuple[int, ...] = ()
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 20
    components: int = 3
    channels: tuple[int, int] = (16, 32)
    unet_steps: int = 600
    unet_batch: int = 64
    strength: float = 5.0
    recurrence: tuple[int, int] = (3, 2)
    stride: tuple[int, int] = (1, 4)
    matching: float = 1.0
    labelling: float = 0.3
    eps: float = 0.3
    steps: int = 60
    lr: float = 0.05


Cell = tuple[Settings, str, int, dict[str, Tensor]]
"""Settings, diffusion model, seed, and the UNet's weights."""


def poison(cell: Cell) -> dict[str, Tensor]:
    """Make one image be misjudged, by every attack from every kind of base, and return all figures."""
    settings, _, seed, _ = cell
    world_seed, goal_seed, mixture_seed, base_seed, victim_seed = spawn_seeds(seed, 5)
    world, poisoner = surroundings(cell, world_seed, mixture_seed)
    goal = worlds.draw_goal(world, goal_seed)
    bases, figures = make_bases(poisoner, world, goal, settings.n_poisons, base_seed)
    figures |= try_bases(settings, world, poisoner, bases, list(ATTACKS), (goal, goal), victim_seed)
    return figures | {f"images, {name}": x[:8] for name, x in bases.items()}


def open_backdoor(cell: Cell) -> dict[str, Tensor]:
    """Make unseen images of one class be misjudged where they carry a trigger, by gradient matching."""
    settings, _, seed, _ = cell
    world_seed, goal_seed, mixture_seed, base_seed, victim_seed = spawn_seeds(seed, 5)
    world, poisoner = surroundings(cell, world_seed, mixture_seed)
    known, unseen = worlds.draw_backdoor(world, goal_seed)
    bases, figures = make_bases(poisoner, world, known, settings.n_poisons, base_seed)
    return figures | try_bases(settings, world, poisoner, bases, ["gradient matching"], (known, unseen), victim_seed)


def surroundings(cell: Cell, world_seed: int, mixture_seed: int) -> tuple[World, GuidedDiffusionPoisoner]:
    """Return where poisons are tried, and what makes their bases."""
    settings, model, _, weights = cell
    place = MODELS.index(model)
    data = worlds.images(settings.sources[place], settings.sizes[place])
    networks = (settings.convolutions, settings.hidden)
    world = worlds.build_world(data, settings.n_clean, networks, settings.epochs, world_seed)
    schedule = worlds.study_schedule()
    if model == "mixture":
        denoiser = worlds.fit_mixture(data, settings.components, schedule, mixture_seed)
    else:
        denoiser = worlds.trained_unet(weights, settings.channels)
    sampler = GuidedDDIMSampler(
        denoiser, schedule, settings.strength, settings.recurrence[place], stride=settings.stride[place]
    )
    return world, GuidedDiffusionPoisoner(world.surrogate, sampler, settings.matching, settings.labelling)


def try_bases(
    settings: Settings,
    world: World,
    poisoner: GuidedDiffusionPoisoner,
    bases: dict[str, Tensor],
    attacks: list[str],
    goals: tuple[PoisonGoal, PoisonGoal],
    seed: int,
) -> dict[str, Tensor]:
    """Craft poisons for the first goal from the bases, and measure by the second what they do to victims.

    Gradient matching starts from every kind of base, other attacks from random and synthesised ones.
    """
    crafted, judged = goals
    judge = partial(
        evaluate_poison, judged, x=world.x, y=world.y, test=world.test, model_fn=world.build, trainer=world.trainer
    )
    clean = judge(poisons=None, n_victims=settings.victims, generator=seeded(seed))
    figures = {"clean: probability": clean.target_probability.mean(), "clean: accuracy": clean.clean_accuracy.mean()}
    for attack in attacks:
        for base in BASES if attack == "gradient matching" else ("random", "synthesised"):
            poisons = poisoner.craft(ATTACKS[attack](settings.eps, settings.steps, settings.lr), bases[base], crafted)
            report = judge(poisons=poisons, n_victims=settings.victims, generator=seeded(seed))
            figures |= {
                f"{attack}, {base}: mismatch": mismatch(poisoner, poisons.x, crafted),
                f"{attack}, {base}: probability": report.target_probability.mean(),
                f"{attack}, {base}: success": report.success.mean(),
                f"{attack}, {base}: accuracy": report.clean_accuracy.mean(),
            }
    return figures


def mismatch(poisoner: GuidedDiffusionPoisoner, x: Tensor, goal: PoisonGoal, *, per_sample: bool = False) -> Tensor:
    """Return the gradient-matching loss of images under the goal's label."""
    target = poison_target_gradient(poisoner.model, goal)
    return gradient_alignment_loss(poisoner.model, x, goal.labels(len(x)), target, per_sample=per_sample)


def make_bases(
    poisoner: GuidedDiffusionPoisoner, world: World, goal: PoisonGoal, n: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return bases of each kind, and what they are like before any attack."""
    real_seed, *sample_seeds = spawn_seeds(seed, 3)
    real = world.x[world.y == goal.label]
    real = real[torch.randperm(len(real), generator=seeded(real_seed))]
    once = replace(poisoner.sampler, recurrence=1)  # without guidance there is nothing to repeat a step for
    plain = once.sample((2 * n, *real.shape[1:]), batch_size=2 * n, generator=seeded(sample_seeds[0]))
    guided = poisoner.generate_bases(goal, 2 * n, batch_size=2 * n, generator=seeded(sample_seeds[1]))
    losses = {
        name: mismatch(poisoner, x, goal, per_sample=True)
        for name, x in (("real", real), ("plain", plain), ("guided", guided))
    }
    held_out = nearest(world.test[0][: len(world.x)], world.x)
    labels = goal.labels(2 * n)
    figures = {
        **{f"mismatch: {name}": values.mean() for name, values in losses.items()},
        "mismatch: best 16": losses["real"].sort().values[:16].mean(),
        "surrogate": torch.tensor(accuracy(predict(world.surrogate, guided), labels)),
        "judge": torch.tensor(accuracy(predict(world.judge, guided), labels)),
        "distance": nearest(guided, world.x) / held_out,
        "distance: plain": nearest(plain, world.x) / held_out,
    }
    bases = {
        "random": real[:n],
        "best": real[losses["real"].argsort()[:n]],
        "synthesised": guided[losses["guided"].argsort()[:n]],
    }
    return bases, figures | {"images, plain": plain[:8]}


def nearest(x: Tensor, others: Tensor) -> Tensor:
    """Return the mean distance of images to the nearest of others."""
    return torch.cdist(x.flatten(1), others.flatten(1)).amin(1).mean()
