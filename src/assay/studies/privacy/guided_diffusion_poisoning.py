"""Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion (Souri et al., 2024).

The paper poisons ResNet-18 on CIFAR-10 and ImageNet, with bases from large diffusion models. Here victims are
perceptrons that train on 1200 images with 40 poisons among them, each of which may move each pixel by 0.3, and there
are two diffusion models: an exact one, of a mixture of Gaussians for each class of the 8 x 8 digits, and a small UNet
of diffusers that is trained on MNIST at 14 x 14 (sampled at a quarter of its times, to save time).

A seed is a target: clean data, surrogate, judge, target image and aimed-at class are drawn anew for each. Bases of an
attack are random images of the class, those of it that match the target's gradient best, or as many synthesised ones,
the better half of what was sampled. Poisons are crafted alike from each, and the same victims train on them.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from assay.core import accuracy, generator, predict, spawn_seeds
from assay.lab import Lab, Paper, Study
from assay.privacy import (
    BullseyePolytope,
    FeatureCollision,
    GradientMatchingAttack,
    GuidedDDIMSampler,
    GuidedDiffusionPoisoner,
    PoisonAttack,
    PoisonGoal,
    evaluate_poison,
    gradient_matching_loss,
    poison_target_gradient,
)
from assay.studies.privacy import _poison_worlds as worlds
from assay.studies.privacy._poison_figures import draw_images, draw_victims, over, rows
from assay.studies.privacy._poison_worlds import World

MODELS = ("mixture", "unet")
BASES = ("random", "best", "synthesised")
ATTACKS: dict[str, type[PoisonAttack]] = {
    "gradient matching": GradientMatchingAttack,
    "feature collision": FeatureCollision,
    "bullseye polytope": BullseyePolytope,
}


@dataclass(frozen=True)
class Settings:
    """How poisons are made and tried; pairs are for the mixture and for the UNet.

    Networks are perceptrons, or have convolutions below one hidden layer.
    """

    targets: tuple[int, int] = (10, 5)
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


STUDY = Study(
    slug="guided-diffusion-poisoning",
    paper=Paper(
        "Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion",
        "Souri, Bansal, Kazemi, Fowl, Saha, Geiping, Wilson, Chellappa, Goldstein, Goldblum",
        2024,
        arxiv="2403.16365",
    ),
    claims={
        "C1": "Some base samples are far more amenable to poisoning than random ones, and choosing them matters",
        "C2": "Guided diffusion can synthesise such bases from scratch, and they look like their label",
        "C3": "Poisons made from them are more potent than those made from real images, chosen or not",
        "C4": "They can be put into any other poisoning attack and make it stronger",
    },
    scales={
        "smoke": Settings(
            targets=(2, 2),
            victims=2,
            sources=("digits", worlds.EMBEDDED),
            n_clean=200,
            n_poisons=4,
            hidden=(16,),
            epochs=3,
            components=1,
            channels=(4, 8),
            unet_steps=2,
            unet_batch=8,
            recurrence=(1, 1),
            stride=(20, 50),
            steps=3,
        ),
        "small": Settings(),
        "paper": Settings(
            targets=(20, 20),
            victims=8,
            sources=("digits", "cifar10"),
            sizes=(8, 32),
            n_clean=50000,
            convolutions=(64, 128, 256),
            hidden=(512,),
            epochs=40,
            n_poisons=50,
            channels=(128, 256),
            unet_steps=800_000,
            unet_batch=128,
            recurrence=(5, 5),
            stride=(1, 1),
            matching=0.5,
            labelling=10.0,
            eps=16 / 255,
            steps=250,
            lr=0.1,
        ),
    },
)

Cell = tuple[Settings, str, int, dict[str, Tensor]]
"""Settings, diffusion model, seed, and the UNet's weights."""


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Poison one target a seed with either diffusion model, and compare the bases."""
    train_seed, *seeds = spawn_seeds(lab.seed, 1 + max(settings.targets))
    unet = lab.cached("unet", partial(train, settings, train_seed))
    for model, n_targets in zip(MODELS, settings.targets, strict=True):
        weights = unet if model == "unet" else {}
        cells = lab.map(poison, [(settings, model, seed, weights) for seed in seeds[:n_targets]], name=model)
        measure_bases(lab, model, cells)
        measure_poisons(lab, model, cells)
        lab.figure(f"bases-{model}", draw_images(cells[0], BASES), caption=f"{model}: bases of one target's poisons")
        lab.figure(
            f"victims-{model}",
            draw_victims(cells, BASES),
            caption=f"{model}: one dot a target, the line through the means",
        )
        lab.table(f"attacks-{model}", rows(cells), caption=f"{model}: means over targets")


# --- One target: bases, poisons, victims --------------------------------------------------------------------------


def train(settings: Settings, seed: int) -> dict[str, Tensor]:
    """Return the weights of the UNet."""
    return worlds.train_unet(
        worlds.images(settings.sources[1], settings.sizes[1]),
        settings.channels,
        worlds.study_schedule(),
        steps=settings.unet_steps,
        batch_size=settings.unet_batch,
        seed=seed,
    )


def poison(cell: Cell) -> dict[str, Tensor]:
    """Make bases and poisons for one target, train victims on them, and return all figures."""
    settings, model, seed, weights = cell
    place = MODELS.index(model)
    world_seed, goal_seed, mixture_seed, base_seed, victim_seed = spawn_seeds(seed, 5)
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
    poisoner = GuidedDiffusionPoisoner(world.surrogate, sampler, settings.matching, settings.labelling)
    goal = worlds.draw_goal(world, goal_seed)
    bases, figures = make_bases(poisoner, world, goal, settings.n_poisons, base_seed)
    judge = partial(
        evaluate_poison, goal, x=world.x, y=world.y, test=world.test, model_fn=world.build, trainer=world.trainer
    )
    clean = judge(poisons=None, n_victims=settings.victims, seed=victim_seed)
    figures |= {"clean: probability": clean.target_probability.mean(), "clean: accuracy": clean.clean_accuracy.mean()}
    for attack, kind in ATTACKS.items():
        for base in BASES if attack == "gradient matching" else ("random", "synthesised"):
            poisons = poisoner.craft(kind(settings.eps, settings.steps, settings.lr), bases[base], goal)
            report = judge(poisons=poisons, n_victims=settings.victims, seed=victim_seed)
            figures |= {
                f"{attack}, {base}: mismatch": mismatch(poisoner, poisons.x, goal),
                f"{attack}, {base}: probability": report.target_probability.mean(),
                f"{attack}, {base}: success": report.success.mean(),
                f"{attack}, {base}: accuracy": report.clean_accuracy.mean(),
            }
    return figures | {f"images, {name}": x[:8] for name, x in bases.items()}


def mismatch(poisoner: GuidedDiffusionPoisoner, x: Tensor, goal: PoisonGoal, *, per_sample: bool = False) -> Tensor:
    """Return the gradient-matching loss of images under the goal's label."""
    target = poison_target_gradient(poisoner.model, goal)
    return gradient_matching_loss(poisoner.model, x, goal.labels(len(x)), target, per_sample=per_sample)


def make_bases(
    poisoner: GuidedDiffusionPoisoner, world: World, goal: PoisonGoal, n: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return bases of each kind, and what they are like before any attack."""
    real_seed, *sample_seeds = spawn_seeds(seed, 3)
    real = world.x[world.y == goal.label]
    real = real[torch.randperm(len(real), generator=generator(real_seed))]
    once = replace(poisoner.sampler, recurrence=1)  # without guidance there is nothing to repeat a step for
    plain = once.sample((2 * n, *real.shape[1:]), batch_size=2 * n, generator=generator(sample_seeds[0]))
    guided = poisoner.generate_bases(goal, 2 * n, batch_size=2 * n, generator=generator(sample_seeds[1]))
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


# --- The claims ----------------------------------------------------------------------------------------------------


def measure_bases(lab: Lab, model: str, cells: list[dict[str, Tensor]]) -> None:
    """C1 and C2 before any attack."""
    real, best, guided = (over(cells, f"mismatch: {name}") for name in ("real", "best 16", "guided"))
    lab.measure("C1", real - best, at_least=0.1, what=f"{model}: mismatch of real images less that of their best 16")
    lab.measure("C2", real - guided, at_least=0.1, what=f"{model}: mismatch of real images less that of guided ones")
    lab.measure(
        "C2", guided - best, at_most=0.02, what=f"{model}: mismatch of guided images less the best 16 real ones"
    )
    lab.measure("C2", over(cells, "mismatch: plain") - guided, what=f"{model}: what guidance takes off the mismatch")
    lab.measure("C2", over(cells, "surrogate"), at_least=0.95, what=f"{model}: share that the surrogate labels rightly")
    lab.measure("C2", over(cells, "judge"), at_least=0.9, what=f"{model}: share that another network labels rightly")
    what = f"{model}: distance to the nearest clean image, in that of held-out images"
    lab.measure("C2", over(cells, "distance"), at_most=1.5, what=what)
    lab.measure("C2", over(cells, "distance: plain"), what=f"{what}, without guidance")


def measure_poisons(lab: Lab, model: str, cells: list[dict[str, Tensor]]) -> None:
    """C1, C3 and C4 on victims."""

    def figures(name: str) -> list[np.ndarray]:
        return [over(cells, f"gradient matching, {base}: {name}") for base in BASES]

    random, best, made = figures("probability")
    what = f"{model}: gain in the aimed-at class's probability"
    lab.measure("C1", best - random, at_least=0.0, what=f"{what}, best real over random bases")
    lab.measure("C3", made - random, at_least=0.05, what=f"{what}, synthesised over random bases")
    lab.measure("C3", made - best, at_least=0.0, what=f"{what}, synthesised over best real bases")
    lab.measure("C3", random - over(cells, "clean: probability"), what=f"{what}, random bases over no poison")
    random, best, made = figures("mismatch")
    excess = made - np.minimum(random, best)
    lab.measure("C3", excess, at_most=0.0, what=f"{model}: mismatch of poisons less the least from real bases")
    random, _, made = figures("success")
    lab.measure("C3", made - random, what=f"{model}: gain in success, synthesised over random bases")
    drop = over(cells, "clean: accuracy") - figures("accuracy")[2]
    lab.measure("C3", drop, at_most=0.01, what=f"{model}: clean accuracy that the poisons cost")
    for attack in list(ATTACKS)[1:]:
        random, made = (over(cells, f"{attack}, {base}: probability") for base in ("random", "synthesised"))
        lab.measure("C4", made - random, at_least=0.0, what=f"{what}, {attack} from synthesised over random bases")
