"""Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion (Souri et al., 2024).

The paper poisons ResNet-18 on CIFAR-10 and ImageNet, with bases from large diffusion models. Here victims are
perceptrons that train on 1200 images with 40 poisons among them, each of which may move each pixel by 0.3, and there
are two diffusion models: an exact one, of a mixture of Gaussians for each class of the 8 x 8 digits, and a small UNet
of the library diffusers that is trained on MNIST at 14 x 14 (sampled at a quarter of its times, to save time).

A seed is a goal: clean data, surrogate, judge, target image and the attacker's class are drawn for each. Bases of an
attack are random images of that class, which earlier attacks start from; those of its images that align best with the
target's gradient; or as many synthesised ones, the better half of what was sampled. Poisons are crafted alike from
each, and the same victims train on them. A backdoor has images of one class with a white square in the corner for its
goal: training images while it is crafted, test images when it is judged.

Ten targets and five backdoors came first and left wide intervals; as many were added after that look, all bars as they
were.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from assay.core import spawn_seeds
from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.privacy.guided_diffusion_poisoning.cells import ATTACKS, BASES, poison
from assay.studies.privacy.guided_diffusion_poisoning.diffusion import train_unet
from assay.studies.privacy.guided_diffusion_poisoning.figures import (
    base_rows,
    draw_bases,
    draw_victims,
    poison_rows,
)
from assay.studies.privacy.guided_diffusion_poisoning.settings import RECIPE, Model, Settings

STUDY = Study(
    slug="guided-diffusion-poisoning",
    paper=Paper(
        "Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion",
        "Souri, Bansal, Kazemi, Fowl, Saha, Geiping, Wilson, Chellappa, Goldstein, Goldblum",
        2024,
        arxiv="2403.16365",
    ),
    methods=(
        "privacy.GuidedDiffusionPoisoner",
        "privacy.WitchesBrew",
        "privacy.FeatureCollision",
        "privacy.BullseyePolytope",
        "privacy.evaluate_poison",
    ),
    claims={
        "C1": Claim(
            "Some base samples may be far more amenable to poisoning than others, and choosing them carefully may make "
            "poisons more potent",
            paper="abstract, states no number",
        ),
        "C2": Claim(
            "Guided diffusion can synthesise such bases from scratch, and they look like their label",
            paper="abstract, states no number (that they look like their label is not in the abstract)",
        ),
        "C3": Claim(
            "Poisons and backdoors from them are more potent than those of earlier attacks",
            paper="abstract, states no number; success-rate tables, not available to us",
        ),
        "C4": Claim(
            "They can be combined with any poisoning or backdoor attack and make it more effective",
            paper="abstract, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            mixture=Model("digits", 8, targets=2, recurrence=1, stride=20),
            unet=Model("fashion", 14, targets=2, recurrence=1, stride=50),
            backdoors=2,
            victims=2,
            n_clean=200,
            n_poisons=4,
            recipe=replace(RECIPE, hidden=(16,), epochs=3),
            components=1,
            channels=(4, 8),
            unet_steps=2,
            unet_batch=8,
            steps=3,
        ),
        "small": Settings(),
        "paper": Settings(
            mixture=Model("digits", 8, targets=20, recurrence=5, stride=1),
            unet=Model("cifar10", 32, targets=20, recurrence=5, stride=1),
            backdoors=20,
            victims=8,
            n_clean=50000,
            n_poisons=50,
            recipe=replace(RECIPE, hidden=(512,), channels=(64, 128, 256), epochs=40),
            channels=(128, 256),
            unet_steps=800_000,
            unet_batch=128,
            matching=0.5,
            labelling=10.0,
            eps=16 / 255,
            steps=250,
            lr=0.1,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Poison one goal a seed with bases from either diffusion model, and compare the bases."""
    mixture, unet = (replace(model, source=lab.data(model.source)) for model in (settings.mixture, settings.unet))
    settings = replace(settings, mixture=mixture, unet=unet)
    unet_seed, *seeds = spawn_seeds(lab.seed, 1 + max(mixture.targets, unet.targets, settings.backdoors))
    weights = lab.cached("unet", partial(train_unet, settings, unet_seed))
    found = {
        "mixture": lab.grid(poison, settings, name="mixture", seed=seeds[: mixture.targets]),
        "unet": lab.grid(partial(poison, unet=weights), settings, name="unet", seed=seeds[: unet.targets]),
        "backdoor": lab.grid(
            partial(poison, backdoor=True), settings, name="backdoor", seed=seeds[: settings.backdoors]
        ),
    }
    for case in ("mixture", "unet"):
        measure_bases(lab, case, found[case])
        measure_poisons(lab, case, found[case])
        caption = f"{case}: bases of one target's poisons"
        lab.figure(f"bases-{case}", draw_bases(found[case].cells[0]), caption=caption)
    measure_backdoors(lab, found["backdoor"])
    for case, targets in found.items():
        each = "a pair of classes" if case == "backdoor" else "a target"
        caption = f"{case}: victims after gradient matching; one dot {each}, and their mean"
        lab.figure(f"victims-{case}", draw_victims(targets), caption=caption)
    lab.table("bases", base_rows(found), caption="Images before any attack, means over goals with 95% intervals")
    lab.table("poisons", poison_rows(found), caption="Poisons and their victims, means over goals with 95% intervals")


def measure_bases(lab: Lab, case: str, targets: Grid) -> None:
    """C1 and C2 before any attack."""
    real, best, guided = (targets[f"alignment loss, {name}"] for name in ("real", "best 16 real", "guided"))
    what = f"{case}: mean gradient-alignment loss of"
    lab.measure("C1", real - best, at_least=0.1, what=f"{what} real images less that of the best 16 among them")
    lab.measure("C2", real - guided, at_least=0.1, what=f"{what} real images less that of guided ones")
    lab.measure("C2", guided - best, at_most=0.02, what=f"{what} guided images less that of the best 16 real ones")
    what = f"{case}: share of guided images with the attacker's label according to"
    lab.measure("C2", targets["surrogate's agreement"], at_least=0.95, what=f"{what} the surrogate")
    lab.measure("C2", targets["judge's agreement"], at_least=0.9, what=f"{what} another network")
    what = f"{case}: distance of guided images to the nearest clean image, over that of held-out images"
    lab.measure("C2", targets["distance, guided"], at_most=1.5, what=what)


def measure_poisons(lab: Lab, case: str, targets: Grid) -> None:
    """C1, C3 and C4 on victims."""

    def matching(key: str) -> list[np.ndarray]:
        return [targets[f"gradient matching, {base}: {key}"] for base in BASES]

    random, best, made = matching("probability")
    what = f"{case}: gain in probability of the attacker's class on the target, gradient matching from"
    lab.measure("C1", best - random, at_least=0.0, what=f"{what} best real over random bases")
    lab.measure("C3", made - random, at_least=0.05, what=f"{what} synthesised over random bases")
    lab.measure("C3", made - best, at_least=0.0, what=f"{what} synthesised over best real bases")
    random, best, made = matching("alignment loss")
    what = (
        f"{case}: alignment loss of poisons from synthesised bases less the lower one from random and best real bases"
    )
    lab.measure("C3", made - np.minimum(random, best), at_most=0.0, what=what)
    lost = targets["clean: clean accuracy"] - matching("clean accuracy")[-1]
    what = f"{case}: clean accuracy that gradient matching from synthesised bases costs the victims"
    lab.measure("C3", lost, at_most=0.01, what=what)
    for attack in list(ATTACKS)[1:]:
        random, made = (targets[f"{attack}, {base}: probability"] for base in ("random", "synthesised"))
        what = f"{case}: gain in probability of the attacker's class on the target, {attack} from"
        lab.measure("C4", made - random, at_least=0.0, what=f"{what} synthesised over random bases")


def measure_backdoors(lab: Lab, pairs: Grid) -> None:
    """C4 on unseen images that carry a trigger."""
    random, made = (pairs[f"gradient matching, {base}: probability"] for base in ("random", "synthesised"))
    what = "backdoor: gain in probability of the attacker's class on unseen images with the trigger, gradient matching"
    lab.measure("C4", made - random, at_least=0.0, what=f"{what} from synthesised over random bases")
