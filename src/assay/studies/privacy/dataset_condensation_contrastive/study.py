"""Dataset Condensation with Contrastive Signals (Lee et al., 2022).

The paper condenses SVHN, CIFAR and fine-grained groups of ImageNet on a GPU. Here a problem with a known common part
(eight classes told apart in 20 dimensions, beside 40 that hold one blurred vector for all) stands for the theory, and
Fashion-MNIST at 14 x 14 pixels with a network an eighth as wide for the images: one sample a class, 24 networks instead
of 1000, a quarter of them in warm-up as in the paper. Five kinds of garment stand for a fine-grained group. Class-wise
condensation (DC), the contrastive one (DCC) and random samples, where both start, share budget and evaluation.

Bars are those of our plan, set before this was run.
"""

from dataclasses import replace

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study, plots
from assay.lab.tables import summarise
from assay.studies.privacy.dataset_condensation_contrastive.cells import (
    METHODS,
    condense_images,
    condense_vectors,
    remember,
)
from assay.studies.privacy.dataset_condensation_contrastive.settings import Settings

ABSTRACT = "abstract, states no number"

STUDY = Study(
    slug="dataset-condensation-contrastive",
    paper=Paper(
        "Dataset Condensation with Contrastive Signals",
        "Lee, Chun, Jung, Yun, Yoon",
        2022,
        arxiv="2202.02916",
        venue="ICML 2022",
    ),
    methods=(
        "privacy.DatasetCondenser",
        "privacy.CondensedReplay",
        "privacy.evaluate_condensed",
        "privacy.condensation.kernel_velocity",
    ),
    claims={
        "C1": Claim(
            "Class-wise condensation can be worse than random samples where classes share much of their content",
            paper='abstract, states no number (says "we prove"; the theorem is not available to us)',
        ),
        "C2": Claim(
            "It misses the differences between classes; gradients summed over classes keep them", paper=ABSTRACT
        ),
        "C3": Claim("Kernel velocity shows how training on a condensed set runs", paper=ABSTRACT),
        "C4": Claim("A warm-up by class-wise matching makes the optimisation more stable", paper=ABSTRACT),
        "C5": Claim(
            "On fine-grained classes the contrastive signal is what makes condensation work",
            paper=f"{ABSTRACT}; results tables, not available to us",
        ),
        "C6": Claim(
            "On images in general it is better than random samples, and no worse than class-wise condensation",
            paper=f"{ABSTRACT}; results tables, not available to us",
        ),
        "C7": Claim("A memory of condensed samples helps to learn classes one task after the other", paper=ABSTRACT),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            judges=1,
            judge_epochs=4,
            common=(2.0,),
            high_rate_at=(2.0,),
            toy_per_class=8,
            toy_outer=1,
            velocity_points=2,
            source="fashion",
            fine_classes=(0, 6),
            per_class=(6, 4),
            side=8,
            channels=(2,),
            outer=1,
            batch_size=4,
            tasks=2,
            task_steps=2,
        ),
        "small": Settings(),
        "paper": Settings(
            judges=20,
            source="cifar10",
            fine_classes=(2, 3, 4, 5, 6, 7),
            per_class=(5000, 1000),
            side=32,
            channels=(128, 128, 128),
            outer=1000,
            batch_size=256,
            task_steps=1000,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Condense problems with a common vector, images, fine-grained images and tasks, and compare."""
    settings, seeds = replace(settings, source=lab.data(settings.source)), settings.seeds
    vectors = lab.grid(condense_vectors, settings, name="vectors", common=settings.common, seed=seeds)
    measure_vectors(settings, lab, vectors)
    measure_dynamics(settings, lab, vectors.at(common=settings.warmup_at))
    groups = ("all classes", "fine-grained")
    images = lab.grid(condense_images, settings, name="images", group=groups, method=METHODS, seed=seeds)
    measure_images(lab, images)
    tasks = lab.grid(remember, settings, name="tasks", memory=("random", "DCC"), seed=seeds)
    condensed, random = (tasks.at(memory=name)["accuracy"] for name in ("DCC", "random"))
    what = "accuracy on all classes after the last task, memory of one image a class: DCC minus random images"
    lab.measure("C7", condensed - random, at_least=0.03, what=what)
    lab.table("tasks", tasks, caption="Accuracy on all classes after the last task, by what the memory holds")


def measure_vectors(settings: Settings, lab: Lab, vectors: Grid) -> None:
    """C1 and C2: what a common vector of several norms does to each way of condensing."""
    rows = []
    for level, found in vectors.by("common").items():
        where = f"accuracy after training on one sample a class, common vector of norm {level:g}:"
        shown = {name: found[name] for name in found.cells[0] if ":" not in name and "velocity" not in name}
        if level in settings.high_rate_at:
            below = found["random"] - found["DC, high rate"]
            lab.measure("C1", below, at_least=0.0, what=f"{where} random minus DC at image learning rate 1")
            better = {name: np.maximum(found[name], found[f"{name}, high rate"]) for name in ("DC", "DCC")}
            shown["DCC minus DC, better rate of each"] = better["DCC"] - better["DC"]
        lab.measure("C2", found["DCC"] - found["DC"], at_least=0.1, what=f"{where} DCC minus DC")
        lab.measure("C2", found["DCC"] - found["random"], at_least=0.2, what=f"{where} DCC minus random")
        diverged = {name: int(found[f"{name}: diverged"].sum()) for name in shown if name in found.cells[0]}
        rows += [
            {"common norm": level, "set": name, "accuracy": summarise(values), "diverged": diverged.get(name, "")}
            for name, values in shown.items()
        ]
    caption = "Test accuracy after training on one sample a class; networks whose training diverged count at chance"
    lab.table("common-vector", rows, caption=caption)
    curves = {name: vectors[name].T for name in METHODS}
    figure = plots.curves(settings.common, curves, xlabel="norm of the common vector", ylabel="test accuracy")
    lab.figure("common-vector", figure, caption="Accuracy by norm of the common vector: mean and range over seeds")


def measure_dynamics(settings: Settings, lab: Lab, vectors: Grid) -> None:
    """C3 and C4: how training on the sets runs, and what the warm-up does to the spread over seeds."""
    curves = {name: vectors[f"velocity on {name}"] for name in ("real", "DC", "DCC")}
    for name, values in curves.items():
        what = f"kernel velocity in training on {name} data: first minus last"
        lab.measure("C3", values[:, 0] - values[:, -1], at_least=0.0, what=what)
    rows = [{"trained on": name, "kernel velocity": summarise(values.mean(1))} for name, values in curves.items()]
    lab.table("kernel-velocity", rows, caption="Mean velocity of the tangent kernel over training, per step")
    dt = settings.judge_epochs // settings.velocity_points
    steps = dt * (np.arange(settings.velocity_points) + 0.5)
    figure = plots.curves(steps, curves, xlabel="step of training", ylabel="kernel velocity per step", log="y")
    caption = "Velocity of the tangent kernel in training: mean and range over seeds"
    lab.figure("kernel-velocity", figure, caption=caption)
    spread = vectors["DCC, warm-up"].std(ddof=1) - vectors["DCC"].std(ddof=1)
    lab.measure("C4", spread, what="standard deviation of DCC's accuracy over seeds, with warm-up minus without")


def measure_images(lab: Lab, images: Grid) -> None:
    """C5 and C6: images of all classes, and of those that are hard to tell apart."""
    (random, dc, dcc), (_, hard_dc, hard_dcc) = images["accuracy"]
    what = "accuracy after training on one image a class,"
    lab.measure("C6", dcc - random, at_least=0.15, what=f"{what} all classes: DCC minus random")
    lab.measure("C6", dcc - dc, at_least=-0.01, what=f"{what} all classes: DCC minus DC (no more than 0.01 worse)")
    lab.measure("C5", hard_dcc - hard_dc, at_least=0.02, what=f"{what} fine-grained classes: DCC minus DC")
    caption = "Test accuracy after training on one image a class, and networks whose training diverged"
    lab.table("images", images, columns=("accuracy", "diverged"), caption=caption)
    first = images.at(group="all classes").by("method")
    rows = {name: found["images"][0].mean(1) for name, found in first.items()}
    caption = "One image a class, by what condensed it; first seed"
    lab.figure("condensed", plots.image_rows(rows, limits=None), caption=caption)
