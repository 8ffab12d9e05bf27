"""Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses (Buzaglo et al., 2023).

The paper attacks dense networks of two hidden layers and convolutional ones, trained for up to a million epochs on 500
images of CIFAR-10; here 10 to 50 images, one hidden layer and thousands of steps, and the attack's defaults
on every network. Ten classes are attacked through the exact stationarity of cross-entropy with weight decay (the
objective "vector"), regressions without labels (the objective "regression").

The convolutional networks read 8 x 8 digits: 3 x 3, four channels, a hidden layer. All of input space is searched. With
ten classes the first dense layer shows as many dimensions as there are images, with two only three or four: what comes
out of both has a large mean in common. Ten classes and weight decay were chosen on one other seed, steps on two of
these, the attack's pace there on four; features of two classes alone gave no more than random candidates.

A training image counts as recovered when a candidate correlates with it by more than 0.75 or 0.9 after the mean image
is taken out (NCC), best of all restarts. For regressions candidates and nulls count with both signs. Nulls are random
candidates and as many unseen images. Three seeds left most intervals wide; three were added, the bars as they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from assay.core import spawn_seeds
from assay.data import available
from assay.lab import Lab, Paper, Study, plots
from assay.reconstruction.kkt import (
    Objective,
)
from assay.studies.reconstruction.reconstruction_general_losses.cells import Attack, attack
from assay.studies.reconstruction.reconstruction_general_losses.figures import (
    IMAGES_CAPTION,
    TABLE_CAPTION,
    TRENDS_CAPTION,
    Networks,
    draw_trends,
    rows,
)
from assay.studies.reconstruction.shared.victims import Victim


@dataclass(frozen=True)
class Settings:
    """How the networks are trained and how long each is attacked.

    `n` images, `widths[-1]` units and `decay` are what all networks of C4 and C5 have that do not vary them. `decays`
    start with none, and none is repeated from a first layer that starts at `near_zero`, the papers' choice.
    """

    seeds: int = 6
    source: str = "mnist"
    ten_each: tuple[int, ...] = (3, 5)
    ten_width: int = 500
    ten_steps: int = 8_000
    regression_n: int = 30
    regression_width: int = 500
    regression_steps: int = 6_000
    regression_decay: float = 1e-2
    n: int = 20
    sizes: tuple[int, ...] = (10, 20, 40)
    widths: tuple[int, ...] = (25, 100, 400)
    steps: int = 6_000
    decays: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    decay: float = 1e-3
    near_zero: float = 1e-4
    convolution_source: str = "digits"
    convolution_n: int = 10
    channels: int = 4
    convolution_hidden: int = 200
    convolution_steps: int = 4_000
    convolution_decay: float = 1e-3
    convolution_restarts: int = 1
    convolution_max_iter: int = 800
    n_restarts: int = 2
    max_iter: int = 800


STUDY = Study(
    slug="reconstruction-general-losses",
    paper=Paper(
        "Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses",
        "Buzaglo, Haim, Yehudai, Vardi, Oz, Nikankin, Irani",
        2023,
        arxiv="2307.01827",
    ),
    claims={
        "C1": "Training samples can be recovered from the weights of networks of several classes",
        "C2": "Training samples can be recovered from the weights of convolutional networks",
        "C3": "Recovery works for a wide range of losses with weight decay, regression losses among them",
        "C4": "Weight decay in training increases how many samples are recovered, and how well",
        "C5": "The number of neurons relative to the number of training samples governs recovery",
    },
    scales={
        "smoke": Settings(
            seeds=2,
            source="fashion",
            ten_each=(1,),
            ten_width=40,
            ten_steps=60,
            regression_n=10,
            regression_width=40,
            regression_steps=60,
            n=10,
            sizes=(6, 10),
            widths=(10, 30),
            steps=60,
            decays=(0.0, 1e-3),
            channels=2,
            convolution_hidden=20,
            convolution_steps=30,
            convolution_restarts=1,
            convolution_max_iter=4,
            n_restarts=1,
            max_iter=15,
        ),
        "small": Settings(),
        "paper": Settings(
            source="cifar10",
            ten_each=(50,),
            ten_width=1000,
            ten_steps=1_000_000,
            regression_n=500,
            regression_width=1000,
            regression_steps=1_000_000,
            regression_decay=7.5e-4,
            n=500,
            sizes=(100, 500, 1000),
            widths=(25, 100, 400, 1600),
            steps=1_000_000,
            convolution_source="cifar10",
            convolution_n=500,
            convolution_hidden=1000,
            convolution_steps=1_000_000,
            n_restarts=10,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack ten classes (C1), convolutions (C2), regressions (C3), weight decays (C4), widths and sizes (C5)."""
    settings = replace(settings, source=lab.cached("source", partial(available, settings.source)))
    groups = {"C1": ten_classes(settings), "C2": convolutions(settings), "C3": regressions(settings)}
    kinds = {name: kind for group in (*groups.values(), trends(settings)) for name, kind in group.items()}
    done: dict[Attack, dict[str, np.ndarray]] = {}  # some networks stand in two trends

    def attack_all(name: str, kind: Attack) -> dict[str, np.ndarray]:
        if kind not in done:
            cells = [replace(kind, seed=seed, device=str(lab.device)) for seed in spawn_seeds(lab.seed, settings.seeds)]
            results = lab.map(attack, cells, name=name.replace(" ", "-").replace(",", ""))
            done[kind] = {key: np.stack([result[key].numpy() for result in results]) for key in results[0]}
        return done[kind]

    nets = {name: attack_all(name, kind) for name, kind in kinds.items()}
    sizes = {name: kind.victim.n for name, kind in kinds.items()}
    for claim in ("C1", "C3"):
        for name in groups[claim]:
            measure_counts(lab, claim, name, nets[name], sizes[name])
    for name in groups["C2"]:
        measure_convolution(lab, name, nets[name], sizes[name])
    measure_decays(lab, settings, nets)
    measure_neurons(lab, settings, nets)
    axes = {
        "weight decay": {f"{w:g}": nets[decayed(w)] for w in settings.decays},
        f"hidden units, {settings.n} images": {str(h): nets[wide(h)] for h in settings.widths},
        f"images, {settings.widths[-1]} units": {str(n): nets[sized(n)] for n in settings.sizes},
    }
    lab.figure("trends", draw_trends(axes), caption=TRENDS_CAPTION)
    best = plots.image_pairs(*(nets["squared error"][name][0] for name in ("train", "found", "ncc")))
    lab.figure("recovered", best, caption=IMAGES_CAPTION.format("squared error"))
    lab.table("networks", rows(nets, sizes), caption=TABLE_CAPTION)


# --- The networks --------------------------------------------------------------------------------------------------

NEAR_ZERO = "no weight decay, from near zero"


def decayed(decay: float) -> str:
    """Name a network of C4."""
    return f"weight decay {decay:g}"


def wide(width: int) -> str:
    """Name a network of C5 of some width."""
    return f"{width} hidden units"


def sized(n: int) -> str:
    """Name a network of C5 of some number of images."""
    return f"{n} images"


def dense(settings: Settings, victim: Victim, objective: Objective) -> Attack:
    """Return the attack on a kind of dense network; seed and device are filled in later."""
    return Attack(victim, objective, "auto", settings.n_restarts, settings.max_iter)


def ten_classes(settings: Settings) -> dict[str, Attack]:
    """Return the networks of C1."""
    one = Victim(settings.source, 0, (settings.ten_width,), settings.ten_steps, classes=10)
    kinds = {f"ten classes of {each}": replace(one, n=10 * each) for each in settings.ten_each}
    return {name: dense(settings, victim, "vector") for name, victim in kinds.items()}


def convolutions(settings: Settings) -> dict[str, Attack]:
    """Return the networks of C2, attacked with four candidates for each image."""
    victim = Victim(
        settings.convolution_source,
        settings.convolution_n,
        (settings.convolution_hidden,),
        settings.convolution_steps,
        weight_decay=settings.convolution_decay,
        channels=settings.channels,
    )
    options = (4 * settings.convolution_n, settings.convolution_restarts, settings.convolution_max_iter)
    return {
        "convolution, ten classes": Attack(replace(victim, classes=10), "vector", *options),
        "convolution, two classes": Attack(victim, "binary", *options),
    }


def regressions(settings: Settings) -> dict[str, Attack]:
    """Return the networks of C3, without labels; the rates are near the largest at which training is stable."""
    one = Victim(settings.source, settings.regression_n, (settings.regression_width,), settings.regression_steps)
    one = replace(one, weight_decay=settings.regression_decay)
    squared = replace(one, loss="squared", learning_rate=0.02)
    huber = replace(one, loss="huber", learning_rate=0.04)
    kinds = {"squared error": squared, "Huber loss": huber}
    return {name: dense(settings, victim, "regression") for name, victim in kinds.items()}


def trends(settings: Settings) -> dict[str, Attack]:
    """Return the networks of C4 and C5."""
    one = Victim(settings.source, settings.n, settings.widths[-1:], settings.steps, weight_decay=settings.decay)
    kinds = {decayed(decay): replace(one, weight_decay=decay) for decay in settings.decays}
    kinds[NEAR_ZERO] = replace(one, weight_decay=0.0, first_layer_std=settings.near_zero)
    kinds |= {wide(width): replace(one, hidden=(width,)) for width in settings.widths}
    kinds |= {sized(n): replace(one, n=n) for n in settings.sizes}
    return {name: dense(settings, victim, "binary") for name, victim in kinds.items()}


# --- The claims; the bars were set before the first run, the paper shows plots and no count -------------------------

SHARES = {"ten classes of 3": (0.4, None), "ten classes of 5": (0.2, None)}
SHARES |= {"squared error": (0.4, 0.1), "Huber loss": (0.4, 0.1)}
"""Share of the training images that must be recovered with NCC > 0.75 and > 0.9; others are reported without a bar."""

NULLS = {"held_out": "held-out images", "random": "random candidates"}


def measure_counts(lab: Lab, claim: str, name: str, net: Mapping[str, np.ndarray], n: int) -> None:
    """Bring what was recovered from one kind of network, and what its nulls reach."""
    for key, threshold, share in zip(("n75", "n90"), (0.75, 0.9), SHARES.get(name, (None, None)), strict=True):
        least = None if share is None else share * n
        lab.measure(claim, net[key], at_least=least, what=f"{name}: images with NCC > {threshold}, of {n}")
    for null, what in NULLS.items():
        lab.measure(claim, net[null], at_most=2, what=f"{name}: null, {what}, NCC > 0.75")
    lab.measure(claim, net["n75"] - net["rows"], at_least=0, what=f"{name}: more than rows of the first layer reach")


def measure_convolution(lab: Lab, name: str, net: Mapping[str, np.ndarray], n: int) -> None:
    """C2: medians, since few images of a convolutional network reach any threshold."""
    for null, what in NULLS.items():
        gain = net["median"] - net[f"{null}_median"]
        lab.measure("C2", gain, at_least=0.05, what=f"{name}: median best NCC less that of {what}")
        lab.measure("C2", net[null], what=f"{name}: null, {what}, NCC > 0.75")
    lab.measure("C2", net["n75"], what=f"{name}: images with NCC > 0.75, of {n}")
    lab.measure("C2", net["rank"], what=f"{name}: dimension of the span that the first dense layer tells")


def measure_decays(lab: Lab, settings: Settings, nets: Networks) -> None:
    """C4: networks with and without weight decay, paired over seeds."""
    none = nets[decayed(settings.decays[0])]
    for decay in settings.decays[1:]:
        for start, other, least in (("", none, 0.25), (" from near zero", nets[NEAR_ZERO], 0.0)):
            net, than = nets[decayed(decay)], f"weight decay {decay:g} against none{start}"
            counted = net["n75"] - other["n75"]
            lab.measure("C4", counted, at_least=least * settings.n, what=f"{than}: more images with NCC > 0.75")
            lab.measure("C4", net["median"] - other["median"], at_least=least / 2.5, what=f"{than}: higher median NCC")
    for name in (*map(decayed, settings.decays), NEAR_ZERO):
        lab.measure("C4", nets[name]["gradient_norm"], what=f"{name}: norm of the gradient where training ended")


def measure_neurons(lab: Lab, settings: Settings, nets: Networks) -> None:
    """C5: rank correlations within each seed, of the median best NCC with hidden units and with images."""
    medians = np.stack([nets[wide(width)]["median"] for width in settings.widths])
    rising = rank_correlations(settings.widths, medians)
    lab.measure("C5", rising, at_least=0, what=f"Spearman of width and median NCC, {settings.n} images")
    lab.measure("C5", medians[-1] - medians[0], at_least=0.1, what="median NCC, the widest network less the narrowest")
    medians = np.stack([nets[sized(n)]["median"] for n in settings.sizes])
    falling = rank_correlations(settings.sizes, medians)
    lab.measure("C5", falling, at_most=0, what=f"Spearman of images and median NCC, {settings.widths[-1]} units")


def rank_correlations(places: Sequence[int], medians: np.ndarray) -> list[float]:
    """Return each seed's rank correlation of what varies with the medians, one row a place."""
    each: list[Any] = [spearmanr(places, median) for median in medians.T]
    return [float(result.statistic) for result in each]
