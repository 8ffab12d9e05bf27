"""Reconstructing Training Data from Multiclass Neural Networks (Buzaglo et al., 2023).

With its base, Haim et al. (2022): the binary attack is claim C1. The paper trains 1000-1000 networks on 500 images of
MNIST or CIFAR-10 for a million epochs and searches a hundred hyper-parameters a network; here mostly 30 to 100 images,
one to three smaller hidden layers and tens of thousands of steps, and the attack's defaults on every network.
Networks of the paper's size have 100 and its 500 images of CIFAR-10; the initialisation is PyTorch's, and weight decay
does the work of the million epochs. Of 500, none came back: 20,000 steps leave a span that reads as 279
dimensions of 499. Another network with five times the decay and half the steps shows all 500, and gave back one image.

The attack's starts and steps were chosen on networks of 30 images here: the first three with one, two and three hidden
layers, the first two of the others with one logit, of ten classes and of CIFAR-10. How both shrink with the span was
chosen on the networks of 100 images, CIFAR-10's included, on those of 50 and on two of 50 images of ten classes: their
counts are not of networks that the attack had never seen.

A training image counts as recovered when a candidate correlates with it by more than 0.75 or 0.9 after the mean image
is taken out (NCC). Each count stands beside its nulls: random candidates of the same subspace, rows of the first
layer, and as many images that the network never saw, scored against the same candidates. The paper's own measure, SSIM
above 0.4, is in the table beside its nulls: the weights hardly fix a candidate's scale, and on a black background at
the wrong scale even a copy does not pass it.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from assay.core import spawn_seeds
from assay.data import available
from assay.lab import Lab, Paper, Study
from assay.studies.reconstruction.reconstruction_multiclass.figures import (
    COLOUR_CAPTION,
    COUNTS_CAPTION,
    IMAGES_CAPTION,
    TABLE_CAPTION,
    draw_counts,
    draw_images,
    rows,
)
from assay.studies.reconstruction.shared.attack import Limits, attack_networks
from assay.studies.reconstruction.shared.victims import Victim

NO_HUNDRED = "needs 5000 images of 100 classes, and CIFAR-100 is not among the data sets"
NO_COLOUR = "needs CIFAR-10, which is not on this machine or not used at this scale"


@dataclass(frozen=True)
class Settings:
    """How the networks are trained and how long each is attacked.

    `steps` is long enough for the initialisation to vanish, `short_steps` leaves three per cent of it. Where a field
    holds pairs, they are numbers of training images and of seeds; a third number is that of restarts.
    """

    seeds: int = 6
    source: str = "mnist"
    n: int = 30
    width: int = 500
    larger: tuple[tuple[int, int], ...] = ((50, 3), (100, 3))
    ten_larger: tuple[tuple[int, int], ...] = ((50, 3),)
    deep: tuple[int, ...] = (300, 300)
    deeper: tuple[int, ...] = (200, 200, 200)
    deeper_seeds: int = 3
    steps: int = 21_000
    short_steps: int = 7_000
    deep_steps: int = 15_000
    decays: tuple[float, ...] = (0.0, 1e-4, 1e-3, 5e-3)
    decay_steps: int = 8_000
    colour: str | None = "cifar10"
    colour_images: tuple[int, int] = (30, 3)
    colour_hidden: tuple[int, ...] = (300, 300)
    colour_larger: tuple[tuple[int, int, int], ...] = ((100, 2, 4), (500, 1, 2))
    colour_larger_hidden: tuple[int, ...] = (1000, 1000)
    colour_steps: int = 20_000
    colour_rate: float = 0.05
    n_restarts: int = 10
    restarts_at_once: int = 10
    max_iter: int = 1500
    batch_size: int | None = None


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
        "C6": "(ours) What restarts agree on is mostly training images, and most of those recovered: no data is needed",
    },
    scales={
        "smoke": Settings(
            seeds=2,
            source="fashion",
            n=10,
            width=60,
            larger=((12, 2),),
            ten_larger=((20, 2),),
            deep=(40, 30),
            deeper=(20, 20, 20),
            deeper_seeds=2,
            steps=300,
            short_steps=150,
            deep_steps=300,
            decays=(0.0, 1e-3),
            decay_steps=150,
            colour=None,
            n_restarts=3,
            restarts_at_once=2,
            max_iter=60,
        ),
        "small": Settings(),
        "paper": Settings(
            n=500,
            width=1000,
            larger=((1000, 3),),
            ten_larger=((1000, 3),),
            deep=(1000, 1000),
            deeper=(1000, 1000, 1000),
            steps=1_000_000,
            short_steps=300_000,
            deep_steps=1_000_000,
            colour_hidden=(1000, 1000),
            colour_larger=((100, 6, 10), (500, 6, 10)),
            colour_steps=1_000_000,
            restarts_at_once=1,
            batch_size=500,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack binary networks (C1, C6), ten classes (C2, C3), and four weight decays (C4)."""
    settings = replace(settings, source=lab.cached("source", partial(available, settings.source)))
    if settings.colour is not None and lab.cached("colour", partial(available, settings.colour)) != settings.colour:
        settings = replace(settings, colour=None)
    common = (settings.restarts_at_once, settings.max_iter, settings.batch_size)

    def attack_all(name: str, kind: Kind) -> dict[str, np.ndarray]:
        seeds, limits = spawn_seeds(lab.seed, kind.seeds), Limits(kind.n_restarts, *common)
        results = attack_networks(lab, name.replace(" ", "-").replace(",", ""), kind.victim, seeds, limits)
        return {key: np.stack([result[key].numpy() for result in results]) for key in results[0]}

    two_classes, ten_classes = binary_kinds(settings), several_class_kinds(settings)
    binary = {name: attack_all(name, kind) for name, kind in two_classes.items()}
    ten = {name: attack_all(name, kind) for name, kind in ten_classes.items()}
    measure_binary(lab, settings, binary, two_classes)
    measure_consensus(lab, settings, binary, two_classes)
    measure_classes(lab, ten, ten_classes, binary["converged"])
    decays = {decay: attack_all(f"decay-{decay:g}", kind) for decay, kind in decay_kinds(settings).items()}
    measure_decay(lab, settings, decays)
    lab.measure("C5", untested=NO_HUNDRED)

    nets = {**binary, **ten}
    sizes = {name: kind.victim.n for name, kind in {**two_classes, **ten_classes}.items()}
    lab.figure("recovered", draw_images(binary["converged"]), caption=IMAGES_CAPTION)
    for name in [name for name in nets if name.startswith(COLOUR)]:
        lab.figure(f"recovered-colour-{sizes[name]}", draw_images(nets[name]), caption=COLOUR_CAPTION)
    lab.figure("counts", draw_counts(nets, sizes), caption=COUNTS_CAPTION)
    lab.table("networks", rows(nets, sizes), caption=TABLE_CAPTION)


# --- The networks --------------------------------------------------------------------------------------------------

COLOUR = "vehicles and animals"


@dataclass(frozen=True)
class Kind:
    """One kind of network, how many of them are trained, and how many searches each is attacked with."""

    victim: Victim
    seeds: int
    n_restarts: int


def binary_kinds(settings: Settings) -> dict[str, Kind]:
    """Return the binary networks of C1."""
    one, restarts = Victim(settings.source, settings.n, (settings.width,), settings.steps), settings.n_restarts
    deep = replace(one, hidden=settings.deep, steps=settings.deep_steps)
    kinds = {
        "converged": Kind(one, settings.seeds, restarts),
        "short training": Kind(replace(one, steps=settings.short_steps), settings.seeds, restarts),
        "two hidden layers": Kind(deep, settings.seeds, restarts),
        "three hidden layers": Kind(replace(deep, hidden=settings.deeper), settings.deeper_seeds, restarts),
    }
    kinds |= {f"{n} images": Kind(replace(one, n=n), seeds, restarts) for n, seeds in settings.larger}
    if settings.colour is None:
        return kinds
    options = {"steps": settings.colour_steps, "learning_rate": settings.colour_rate}
    n, seeds = settings.colour_images
    colour = replace(one, source=settings.colour, n=n, hidden=settings.colour_hidden, **options)
    kinds[COLOUR] = Kind(colour, seeds, restarts)
    for n, seeds, restarts in settings.colour_larger:
        larger = replace(colour, n=n, hidden=settings.colour_larger_hidden)
        kinds[f"{COLOUR}, {n} images"] = Kind(larger, seeds, restarts)
    return kinds


def several_class_kinds(settings: Settings) -> dict[str, Kind]:
    """Return the networks of ten classes, of C2 and C3."""
    ten = Victim(settings.source, settings.n, (settings.width,), settings.steps, classes=10)
    larger = {f"ten classes, {n} images": (replace(ten, n=n), seeds) for n, seeds in settings.ten_larger}
    kinds = {"ten classes": (ten, settings.seeds), **larger}
    return {name: Kind(*entry, settings.n_restarts) for name, entry in kinds.items()}


def decay_kinds(settings: Settings) -> dict[float, Kind]:
    """Return the networks of C4, by weight decay."""
    one = Victim(settings.source, settings.n, (settings.width,), settings.decay_steps)
    decays = settings.decays
    return {w: Kind(replace(one, weight_decay=w), settings.seeds, settings.n_restarts) for w in decays}


# --- The claims ----------------------------------------------------------------------------------------------------

SHARES: dict[str, tuple[float, float | None]] = {
    "converged": (16 / 30, 8 / 30),
    "short training": (14 / 30, 5 / 30),
    "two hidden layers": (18 / 30, 5 / 30),
    "three hidden layers": (12 / 30, None),
    COLOUR: (12 / 30, None),
    "50 images": (0.4, None),
    "100 images": (0.15, None),
    "ten classes": (20 / 30, None),
    "ten classes, 50 images": (0.3, None),
}
"""Share of the training images that must be recovered with NCC > 0.75 and > 0.9, set before the first run; the paper
shows plots and no count. What is not named is reported without a bar."""


def measure_counts(lab: Lab, claim: str, name: str, net: dict[str, np.ndarray], n: int) -> None:
    """Bring what was recovered from one kind of network, and what its nulls reach."""
    share75, share90 = SHARES.get(name, (None, None))
    of = f"of {n} images"
    lab.measure(claim, net["n75"], at_least=share75 and share75 * n, what=f"{name}: NCC > 0.75, {of}")
    lab.measure(claim, net["n90"], at_least=share90 and share90 * n, what=f"{name}: NCC > 0.9, {of}")
    for null in ("held_out", "random"):
        most = 1 if name == COLOUR else 2
        lab.measure(claim, net[null], at_most=most, what=f"{name}: null, {null.replace('_', '-')}, NCC > 0.75")


def measure_binary(
    lab: Lab, settings: Settings, nets: dict[str, dict[str, np.ndarray]], kinds: dict[str, Kind]
) -> None:
    """C1: what is recovered, beside its nulls and what can be read off the first layer."""
    for name, net in nets.items():
        n = kinds[name].victim.n
        measure_counts(lab, "C1", name, net, n)
        least = 8 / 30 * n if n == settings.n else None
        lab.measure("C1", net["n75"] - net["rows"], at_least=least, what=f"{name}: more than first-layer rows reach")
        lab.measure("C1", net["seconds"], what=f"{name}: CPU seconds an attack")
        if "unexplained" in net:
            lab.measure("C1", net["unexplained"], what=f"{name}: norm that the true images leave unexplained")
    if settings.colour is None:
        lab.measure("C1", untested=NO_COLOUR, what=COLOUR)


def measure_consensus(
    lab: Lab, settings: Settings, nets: dict[str, dict[str, np.ndarray]], kinds: dict[str, Kind]
) -> None:
    """C6: what the consensus is worth to an attacker who has no training data."""
    for name, net in nets.items():
        n = kinds[name].victim.n
        kept, least = net["chosen75"] / np.maximum(net["n75"], 1), 0.75 if n == settings.n else None
        lab.measure("C6", kept, at_least=least, what=f"{name}: share of recovered images among the {n} most agreed")
        least = 0.7 if n == settings.n else None
        what = f"{name}: share of the {n} most agreed that resemble some training image"
        lab.measure("C6", net["precision"], at_least=least, what=what)
        lab.measure("C6", net["pool_precision"], what=f"{name}: the same share of all candidates")


def measure_classes(
    lab: Lab, nets: dict[str, dict[str, np.ndarray]], kinds: dict[str, Kind], two: dict[str, np.ndarray]
) -> None:
    """C2 on ten classes, and C3 against binary networks of as many images, width, steps and attack."""
    for name, net in nets.items():
        measure_counts(lab, "C2", name, net, kinds[name].victim.n)
        lab.measure("C2", net["n75"] - net["rows"], at_least=0, what=f"{name}: more than first-layer rows reach")
    ten = nets["ten classes"]
    lab.measure("C3", ten["median"] - two["median"], at_least=0, what="median best NCC, ten classes less two")
    lab.measure("C3", ten["n90"] - two["n90"], at_least=0, what="images with NCC > 0.9, ten classes less two")


def measure_decay(lab: Lab, settings: Settings, decays: dict[float, dict[str, np.ndarray]]) -> None:
    """C4: each decay against none, by seed."""
    none = decays[settings.decays[0]]
    lab.measure("C4", none["n75"], what=f"NCC > 0.75, of {settings.n} images, weight decay {settings.decays[0]:g}")
    for decay in settings.decays[1:]:
        gain = decays[decay]["n75"] - none["n75"]
        lab.measure("C4", gain, at_least=0, what=f"more images with NCC > 0.75 than without, weight decay {decay:g}")
