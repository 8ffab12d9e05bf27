"""Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion (Souri et al., 2024).

The paper poisons ResNet-18 on CIFAR-10 and ImageNet, with bases from large diffusion models. Here victims are
perceptrons that train on 1200 images with 40 poisons among them, each of which may move each pixel by 0.3, and there
are two diffusion models: an exact one, of a mixture of Gaussians for each class of the 8 x 8 digits, and a small UNet
of diffusers that is trained on MNIST at 14 x 14 (sampled at a quarter of its times, to save time).

A seed is a target: clean data, surrogate, judge, target image and aimed-at class are drawn anew for each. Bases of an
attack are random images of the class, those of it that match the target's gradient best, or as many synthesised ones,
the better half of what was sampled. Poisons are crafted alike from each, and the same victims train on them. A backdoor
has images of one class with a white square in the corner for a target: training images while it is crafted, test images
when it is judged.

Found at `small`: with a backdoor, victims give unseen images with the trigger the aimed-at class with a probability of
0.36 from random bases, 0.53 from the best real ones and 0.71 from synthesised ones (0.06 without poison). One target
image is harder: few pairs of image and class can be poisoned at all with this budget, and means over targets stay at
0.05, 0.08 and 0.13 with the mixture. Feature collision and bullseye polytope reach nothing from any base. Ten targets
and five backdoors came first and left wide intervals; as many were added after that look, all bars as they were.
"""

from functools import partial

import numpy as np
from torch import Tensor

from assay.core import spawn_seeds
from assay.lab import Lab, Paper, Study
from assay.studies.privacy.guided_diffusion_poisoning import worlds
from assay.studies.privacy.guided_diffusion_poisoning.cells import (
    ATTACKS,
    BASES,
    MODELS,
    Settings,
    open_backdoor,
    poison,
)
from assay.studies.privacy.guided_diffusion_poisoning.figures import draw_images, draw_victims, over, rows

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
            backdoors=2,
            victims=2,
            sources=("digits", "fashion"),
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
            backdoors=20,
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


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Poison one target a seed with either diffusion model, and compare the bases."""
    train_seed, *seeds = spawn_seeds(lab.seed, 1 + max(*settings.targets, settings.backdoors))
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
    doors = [(settings, "mixture", seed, {}) for seed in seeds[: settings.backdoors]]
    measure_backdoors(lab, lab.map(open_backdoor, doors, name="backdoor"))


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


def measure_backdoors(lab: Lab, cells: list[dict[str, Tensor]]) -> None:
    """C3 and C4 on images that carry a trigger."""
    random, best, made = (over(cells, f"gradient matching, {base}: probability") for base in BASES)
    what = "backdoor: gain in the aimed-at class's probability on unseen images with the trigger"
    lab.measure("C3", made - best, what=f"{what}, synthesised over best real bases")
    lab.measure("C3", random - over(cells, "clean: probability"), what=f"{what}, random bases over no poison")
    lab.measure("C4", made - random, at_least=0.0, what=f"{what}, synthesised over random bases")
    drop = over(cells, "clean: accuracy") - over(cells, "gradient matching, synthesised: accuracy")
    lab.measure("C4", drop, what="backdoor: clean accuracy that the poisons cost")
    lab.figure(
        "victims-backdoor",
        draw_victims(cells, BASES),
        caption="backdoor: one dot a pair of classes, the line through the means",
    )
    lab.table("attacks-backdoor", rows(cells), caption="backdoor: means over pairs of classes")
