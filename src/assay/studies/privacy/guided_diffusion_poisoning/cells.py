"""Bases, poisons from them, and victims that train on these, for one goal of an attack."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import accuracy, predict, seeded, spawn_seeds
from assay.data import Dataset
from assay.nets.diffusion import GuidedDDIMSampler, linear_noise_schedule
from assay.privacy import (
    BullseyePolytope,
    FeatureCollision,
    GuidedDiffusionPoisoner,
    PoisonGoal,
    WitchesBrew,
    evaluate_poison,
)
from assay.privacy.poisoning import PoisonAttack, PoisonSet, gradient_alignment_loss, poison_target_gradient
from assay.studies.privacy.guided_diffusion_poisoning.diffusion import SCHEDULE, fit_mixture, trained_unet
from assay.studies.privacy.guided_diffusion_poisoning.settings import Settings
from assay.studies.privacy.guided_diffusion_poisoning.worlds import (
    build_world,
    draw_backdoor,
    draw_target,
    load_images,
)

BASES = ("random", "best", "synthesised")
ATTACKS: dict[str, type[PoisonAttack]] = {
    "gradient matching": WitchesBrew,
    "feature collision": FeatureCollision,
    "bullseye polytope": BullseyePolytope,
}
POISONS = {
    f"{attack}, {base}": (attack, base)
    for attack in ATTACKS
    for base in (BASES if attack == "gradient matching" else ("random", "synthesised"))
}
"""Attacks and the bases that they start from; a backdoor is tried by gradient matching only."""


def poison(
    settings: Settings, seed: int, *, unet: dict[str, Tensor] | None = None, backdoor: bool = False
) -> dict[str, Any]:
    """Make victims misclassify one image, or with a backdoor unseen images of one class under a trigger.

    The bases are those of the UNet where its weights are given, and of the mixture otherwise.
    """
    world_seed, goal_seed, mixture_seed, base_seed, victim_seed = spawn_seeds(seed, 5)
    model = settings.unet if unet else settings.mixture
    data = load_images(model.source, model.size)
    clean, surrogate, judge = build_world(data, settings.n_clean, settings.recipe, world_seed)
    denoiser = trained_unet(unet, settings.channels) if unet else fit_mixture(data, settings.components, mixture_seed)
    schedule = linear_noise_schedule(*SCHEDULE)
    sampler = GuidedDDIMSampler(denoiser, schedule, settings.strength, model.recurrence, stride=model.stride)
    poisoner = GuidedDiffusionPoisoner(surrogate, sampler, settings.matching, settings.labelling)
    if backdoor:
        crafted, judged = draw_backdoor(clean, goal_seed)
    else:
        crafted = judged = draw_target(clean, surrogate, goal_seed)
    bases, figures = make_bases(poisoner, judge, clean, crafted, settings.n_poisons, base_seed)
    found = {"clean": train_victims(settings, clean, judged, None, victim_seed)}
    for name, (attack, base) in POISONS.items():
        if backdoor and attack != "gradient matching":
            continue
        made = poisoner.craft(ATTACKS[attack](settings.eps, settings.steps, settings.lr), bases[base], crafted)
        found[name] = {
            "alignment loss": alignment_loss(poisoner, made.x, crafted).item(),
            **train_victims(settings, clean, judged, made, victim_seed),
        }
    figures |= {f"{name}: {key}": value for name, values in found.items() for key, value in values.items()}
    return figures | {f"images, {name}": x[:8] for name, x in bases.items()}


def train_victims(
    settings: Settings, clean: Dataset, goal: PoisonGoal, poisons: PoisonSet | None, seed: int
) -> dict[str, float]:
    """Return what victims that train on the poisons answer, means over victims; one seed trains them alike."""
    report = evaluate_poison(
        goal,
        poisons,
        clean.x_train,
        clean.y_train,
        test=(clean.x_test, clean.y_test),
        model_fn=settings.recipe.builder(clean.x_train.shape[1:], clean.n_classes),
        trainer=settings.recipe.stacked_trainer(),
        n_victims=settings.victims,
        generator=seeded(seed),
    )
    return {
        "probability": report.target_probability.mean().item(),
        "success": report.success.mean().item(),
        "clean accuracy": report.clean_accuracy.mean().item(),
    }


def make_bases(
    poisoner: GuidedDiffusionPoisoner, judge: nn.Module, clean: Dataset, goal: PoisonGoal, n: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return bases of each kind and images without guidance, and figures of these before any attack."""
    real_seed, *sample_seeds = spawn_seeds(seed, 3)
    real = clean.x_train[clean.y_train == goal.label]
    real = real[torch.randperm(len(real), generator=seeded(real_seed))]
    once = replace(poisoner.sampler, recurrence=1)  # without guidance there is nothing to repeat a step for
    unguided = once.sample((2 * n, *real.shape[1:]), batch_size=2 * n, generator=seeded(sample_seeds[0]))
    guided = poisoner.generate_bases(goal, 2 * n, batch_size=2 * n, generator=seeded(sample_seeds[1]))
    losses = {
        name: alignment_loss(poisoner, x, goal, per_sample=True)
        for name, x in (("real", real), ("unguided", unguided), ("guided", guided))
    }
    held_out = nearest(clean.x_test[: len(clean.x_train)], clean.x_train)
    labels = goal.labels(2 * n)
    figures = {
        **{f"alignment loss, {name}": values.mean().item() for name, values in losses.items()},
        "alignment loss, best 16 real": losses["real"].sort().values[:16].mean().item(),
        "surrogate's agreement": accuracy(predict(poisoner.model, guided), labels),
        "judge's agreement": accuracy(predict(judge, guided), labels),
        "distance, guided": (nearest(guided, clean.x_train) / held_out).item(),
        "distance, unguided": (nearest(unguided, clean.x_train) / held_out).item(),
    }
    bases = {
        "unguided": unguided,
        "random": real[:n],
        "best": real[losses["real"].argsort()[:n]],
        "synthesised": guided[losses["guided"].argsort()[:n]],
    }
    return bases, figures


def alignment_loss(
    poisoner: GuidedDiffusionPoisoner, x: Tensor, goal: PoisonGoal, *, per_sample: bool = False
) -> Tensor:
    """Return the gradient-alignment loss of images under the goal's label."""
    target = poison_target_gradient(poisoner.model, goal)
    return gradient_alignment_loss(poisoner.model, x, goal.labels(len(x)), target, per_sample=per_sample)


def nearest(x: Tensor, others: Tensor) -> Tensor:
    """Return the mean distance of images to the nearest of others."""
    return torch.cdist(x.flatten(1), others.flatten(1)).amin(1).mean()
