"""Reconstructing Training Data from Multiclass Neural Networks (Buzaglo et al., 2023).

With its base, Haim et al. (2022): the binary attack is claim C1. The paper trains 784-1000-1000 networks on 500 images
for a million epochs and searches a hundred hyper-parameters a network; here 30 images, one or two smaller hidden
layers and tens of thousands of steps, and the attack's defaults, untuned, on every network.

A training image counts as recovered when a candidate correlates with it by more than 0.75 or 0.9 after the mean image
is taken out (NCC). Each count stands beside its nulls: random candidates of the same subspace, rows of the first
layer, and as many images that the network never saw, scored against the same candidates.
"""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from assay.core import spawn_seeds
from assay.lab import Lab, Paper, Study
from assay.reconstruction import KKTReconstructor, ReconstructionScore, oracle_multipliers, score_reconstructions
from assay.studies.reconstruction._victims import Trained, Victim, available, train

NO_HUNDRED = "needs 5000 images of 100 classes, and CIFAR-100 is not among the data sets"


@dataclass(frozen=True)
class Settings:
    """How the networks are trained and how long each is attacked.

    `steps` is long enough for the initialisation to vanish, `short_steps` leaves three per cent of it.
    """

    seeds: int = 6
    source: str = "mnist"
    n: int = 30
    width: int = 500
    deep: tuple[int, ...] = (300, 300)
    steps: int = 21_000
    short_steps: int = 7_000
    deep_steps: int = 15_000
    decays: tuple[float, ...] = (0.0, 1e-4, 1e-3, 5e-3)
    decay_steps: int = 8_000
    n_restarts: int = 10
    max_iter: int = 1500


Cell = tuple[Settings, Victim, int]
"""Settings, kind of network, seed."""

STUDY = Study(
    slug="reconstruction-multiclass",
    paper=Paper(
        "Reconstructing Training Data from Multiclass Neural Networks",
        "Buzaglo, Haim, Yehudai, Vardi, Irani",
        2023,
        arxiv="2305.03350",
    ),
    claims={
        "C1": "A sizeable part of the training set of a binary ReLU network can be recovered from its weights alone",
        "C2": "The recovery extends to networks of several classes trained with cross-entropy",
        "C3": "Recovery is even better from networks of several classes than from binary ones of as many samples",
        "C4": "Training with weight decay makes a network more vulnerable",
        "C5": "Samples are recovered from a network trained on 5000 samples of 100 classes",
    },
    scales={
        "smoke": Settings(
            seeds=2,
            source="fashion",
            n=10,
            width=60,
            deep=(40, 30),
            steps=600,
            short_steps=300,
            deep_steps=600,
            decays=(0.0, 1e-3),
            decay_steps=300,
            n_restarts=2,
            max_iter=60,
        ),
        "small": Settings(),
        "paper": Settings(
            n=500, width=1000, deep=(1000, 1000), steps=1_000_000, short_steps=300_000, deep_steps=1_000_000
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack binary networks (C1), ten classes (C2, C3), and four weight decays (C4)."""
    settings = replace(settings, source=lab.cached("source", partial(available, settings.source)))
    seeds = spawn_seeds(lab.seed, settings.seeds)

    def attack_all(name: str, victim: Victim) -> dict[str, np.ndarray]:
        cells = lab.map(attack, [(settings, victim, seed) for seed in seeds], name=name)
        return {key: np.stack([cell[key].numpy() for cell in cells]) for key in cells[0]}

    victim = Victim(settings.source, settings.n, (settings.width,), settings.steps)
    binary = {
        "converged": attack_all("converged", victim),
        "short training": attack_all("short-training", replace(victim, steps=settings.short_steps)),
        "two hidden layers": attack_all(
            "two-hidden-layers", replace(victim, hidden=settings.deep, steps=settings.deep_steps)
        ),
    }
    ten = attack_all("ten-classes", replace(victim, classes=10))
    measure_binary(lab, settings, binary)
    measure_classes(lab, settings, binary["converged"], ten)

    short = replace(victim, steps=settings.decay_steps)
    decays = {w: attack_all(f"decay-{w:g}", replace(short, weight_decay=w)) for w in settings.decays}
    measure_decay(lab, settings, decays)
    lab.measure("C5", untested=NO_HUNDRED)

    lab.figure("recovered", draw_images(binary["converged"]), caption=IMAGES_CAPTION)
    lab.figure("counts", draw_counts(settings, {**binary, "ten classes": ten}), caption=COUNTS_CAPTION)
    lab.table("networks", rows({**binary, "ten classes": ten}), caption="Means over seeds; counts of training images")


# --- One network -------------------------------------------------------------------------------------------------


def attack(cell: Cell) -> dict[str, Tensor]:
    """Train one network, attack it with the defaults, and score pool, consensus and nulls."""
    settings, victim, seed = cell
    trained = train(victim, seed)
    objective = "binary" if victim.classes == 2 else "multiclass"
    start = time.process_time()
    found = KKTReconstructor(
        objective, n_restarts=settings.n_restarts, max_iter=settings.max_iter, input_shape=tuple(trained.x.shape[1:])
    ).fit(trained.model)
    seconds = time.process_time() - start
    pool = scored(trained, found.pool_, found)
    chosen = scored(trained, found.reconstructions_[: victim.n], found)
    inputs = (trained.x - trained.mean).flatten(1)
    nulls = pool.nulls()
    numbers = {
        "n75": pool.n75,
        "n90": pool.n90,
        "chosen75": chosen.n75,
        "chosen90": chosen.n90,
        "median": pool.ncc.median(),
        "random": nulls["random"],
        "rows": nulls["rows"],
        "held_out": nulls["held out"],
        "rank": found.rank_,
        "seconds": seconds,
        "unexplained": oracle_multipliers(trained.model, inputs, trained.y, objective=objective)[1],
    }
    best = pool.ncc.argsort(descending=True)[:10]
    images = {"train": pool.train_x[best] + pool.mean, "found": pool.rescaled()[best], "ncc": pool.ncc[best]}
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in {**numbers, **images}.items()}


def scored(trained: Trained, candidates: Tensor, found: KKTReconstructor) -> ReconstructionScore:
    """Score candidates against the training images, beside every null."""
    return score_reconstructions(
        candidates,
        trained.x,
        mean=trained.mean,
        basis=found.basis_,
        first_layer=trained.model.get_parameter("0.weight"),
        held_out_x=trained.others,
    )


# --- The claims ----------------------------------------------------------------------------------------------------


def measure_binary(lab: Lab, settings: Settings, nets: dict[str, dict[str, np.ndarray]]) -> None:
    """C1: bars are a share of the training set; the paper shows plots and no count."""
    bars = {"converged": (16 / 30, 8 / 30), "short training": (14 / 30, 5 / 30), "two hidden layers": (18 / 30, 5 / 30)}
    for name, net in nets.items():
        share75, share90 = bars[name]
        of = f"of {settings.n} images"
        lab.measure("C1", net["n75"], at_least=share75 * settings.n, what=f"{name}: NCC > 0.75, {of}")
        lab.measure("C1", net["n90"], at_least=share90 * settings.n, what=f"{name}: NCC > 0.9, {of}")
        for null in ("held_out", "random"):
            lab.measure("C1", net[null], at_most=2, what=f"{name}: null, {null.replace('_', '-')}, NCC > 0.75")
        gain = net["n75"] - net["rows"]
        lab.measure("C1", gain, at_least=8 / 30 * settings.n, what=f"{name}: more than first-layer rows reach")
        kept = net["chosen75"] / np.maximum(net["n75"], 1)
        lab.measure("C1", kept, at_least=0.75, what=f"{name}: share of them among the {settings.n} most agreed")
        lab.measure("C1", net["seconds"], what=f"{name}: CPU seconds an attack")
        lab.measure("C1", net["unexplained"], what=f"{name}: norm that the true images leave unexplained")


def measure_classes(lab: Lab, settings: Settings, two: dict[str, np.ndarray], ten: dict[str, np.ndarray]) -> None:
    """C2 on ten classes, and C3 against binary networks of as many images, width, steps and attack."""
    lab.measure(
        "C2", ten["n75"], at_least=20 / 30 * settings.n, what=f"ten classes: NCC > 0.75, of {settings.n} images"
    )
    lab.measure("C2", ten["n90"], what=f"ten classes: NCC > 0.9, of {settings.n} images")
    for null in ("held_out", "random"):
        lab.measure("C2", ten[null], at_most=2, what=f"ten classes: null, {null.replace('_', '-')}, NCC > 0.75")
    lab.measure("C2", ten["n75"] - ten["rows"], at_least=0, what="ten classes: more than first-layer rows reach")
    lab.measure("C3", ten["median"] - two["median"], at_least=0, what="median best NCC, ten classes less two")
    lab.measure("C3", ten["n90"] - two["n90"], at_least=0, what="images with NCC > 0.9, ten classes less two")


def measure_decay(lab: Lab, settings: Settings, decays: dict[float, dict[str, np.ndarray]]) -> None:
    """C4: each decay against none, by seed."""
    none = decays[settings.decays[0]]
    lab.measure("C4", none["n75"], what=f"NCC > 0.75, of {settings.n} images, weight decay {settings.decays[0]:g}")
    for decay in settings.decays[1:]:
        gain = decays[decay]["n75"] - none["n75"]
        lab.measure("C4", gain, at_least=0, what=f"more images with NCC > 0.75 than without, weight decay {decay:g}")


# --- What is shown -------------------------------------------------------------------------------------------------

IMAGES_CAPTION = (
    "The ten training images of the first converged network that were recovered best (above), and what its weights "
    "gave back (below), with their correlation"
)
COUNTS_CAPTION = (
    "Images recovered with NCC above 0.75 and 0.9, and what nulls reach above 0.75; bars are means over seeds"
)


def draw_images(net: dict[str, np.ndarray]) -> Figure:
    """Show the best ten images of the first network."""
    count = len(net["ncc"][0])
    figure, axes = plt.subplots(2, count, figsize=(count, 2.5))
    for row, name in enumerate(("train", "found")):
        for ax, image in zip(axes[row], net[name][0], strict=True):
            ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
    for ax, value in zip(axes[1], net["ncc"][0], strict=True):
        ax.set_title(f"{value:.2f}", fontsize=8)
    return figure


def draw_counts(settings: Settings, nets: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Draw the counts and the nulls of every kind of network side by side."""
    kinds = {"n75": "NCC > 0.75", "n90": "NCC > 0.9", "rows": "rows", "random": "random", "held_out": "held out"}
    figure, ax = plt.subplots(figsize=(8, 3))
    for k, (key, label) in enumerate(kinds.items()):
        places = np.arange(len(nets)) + (k - 2) * 0.16
        ax.bar(places, [net[key].mean() for net in nets.values()], 0.15, label=label)
    ax.set_xticks(range(len(nets)), labels=list(nets))
    ax.set_ylabel(f"training images of {settings.n}")
    ax.legend(frameon=False)
    return figure


def rows(nets: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return one row of means a kind of network."""
    columns = ("n75", "n90", "chosen75", "chosen90", "held_out", "random", "rows", "rank", "seconds", "unexplained")
    return [
        {"network": name, **{column: round(float(net[column].mean()), 2) for column in columns}}
        for name, net in nets.items()
    ]
