"""Reconstructing Training Data from Multiclass Neural Networks (Buzaglo et al., 2023).

With its base, Haim et al. (2022): the binary attack is claim C1. The paper trains 1000-1000 networks on 500 images of
MNIST or CIFAR-10 for a million epochs and searches a hundred hyper-parameters a network; here mostly 30 to 100 images,
one to three smaller hidden layers and tens of thousands of steps, and the attack's defaults on every network.
Networks of the paper's size have 100 and its 500 images of CIFAR-10; the initialisation is PyTorch's, and weight decay
does the work of the million epochs. In a trial, 500 images with five times the decay and half the steps filled the
span that the attack reads from the weights, and gave back one image.

The attack's starts and steps were chosen on networks of 30 images here: the first three with one, two and three hidden
layers, the first two of the others with one logit, of ten classes and of CIFAR-10. How both shrink with the span was
chosen on the networks of 100 images, CIFAR-10's included, on those of 50 and on two of 50 images of ten classes: their
counts are not of networks that the attack had never seen.

A training image counts as recovered when a candidate correlates with it by more than 0.75 or 0.9 after the mean image
is taken out (NCC). Each count stands beside its nulls: random candidates of the same subspace, rows of the first
layer, and as many images that the network never saw, scored against the same candidates. The paper's own measure, SSIM
above 0.4, is in a table beside its nulls: the weights hardly fix a candidate's scale, and on a black background at the
wrong scale even a copy does not pass it.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.reconstruction.reconstruction_multiclass.cells import score, search, train_network
from assay.studies.reconstruction.reconstruction_multiclass.figures import (
    COUNTS_CAPTION,
    IMAGES_CAPTION,
    TABLE_CAPTION,
    draw_best,
    draw_counts,
    rows,
)
from assay.studies.reconstruction.reconstruction_multiclass.networks import (
    COLOUR,
    CONVERGED,
    TEN_CLASSES,
    Kind,
    binary_kinds,
    decay_kinds,
    ten_class_kinds,
)
from assay.studies.reconstruction.reconstruction_multiclass.settings import Settings
from assay.studies.reconstruction.shared.counts import measure_counts

ABSTRACT = "abstract, states no number"
NO_HUNDRED = "needs 5000 images of 100 classes, and CIFAR-100 is not among the data sets"
NO_COLOUR = "needs CIFAR-10, which is not on this machine or not used at this scale"

STUDY = Study(
    slug="reconstruction-multiclass",
    paper=Paper(
        "Reconstructing Training Data from Multiclass Neural Networks",
        "Buzaglo, Haim, Yehudai, Vardi, Irani",
        2023,
        arxiv="2305.03350",
    ),
    methods=(
        "reconstruction.KKTReconstructor",
        "reconstruction.ConsensusSelector",
        "reconstruction.score_reconstructions",
        "reconstruction.train_in_span",
    ),
    claims={
        "C1": Claim(
            "A sizeable part of the training set of a binary ReLU network can be recovered from its weights alone",
            paper='Haim et al. (2022), abstract: "a large portion", states no number; about 50 of 500 CIFAR-10 images, '
            "as Tian et al. (2025), Section 1, quote it",
        ),
        "C2": Claim("The recovery extends to networks of several classes trained with cross-entropy", paper=ABSTRACT),
        "C3": Claim(
            "Recovery is even better from networks of several classes than from binary ones of as many samples",
            paper=ABSTRACT,
        ),
        "C4": Claim("Training with weight decay makes a network more vulnerable", paper=ABSTRACT),
        "C5": Claim(
            "Samples are recovered from a network trained on 5000 samples of 100 classes",
            paper='abstract: "preliminary evidence" on 5000 samples of 100 classes, states no count of recovered '
            "samples",
        ),
        "C6": Claim(
            "What restarts agree on is mostly training images, and most of those recovered: no data is needed",
            ours=True,
        ),
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
    colour = settings.colour and lab.data(settings.colour, instead=None)
    settings = replace(settings, source=lab.data(settings.source), colour=colour)
    two_classes, ten_classes, decays = binary_kinds(settings), ten_class_kinds(settings), decay_kinds(settings)
    kinds = {**two_classes, **ten_classes, **decays}
    nets = {name: attack(lab, settings, name, kind) for name, kind in kinds.items()}
    sizes = {name: kind.victim.n for name, kind in kinds.items()}
    smallest = [name for name in two_classes if sizes[name] == settings.n]
    for name in two_classes:
        beyond_rows = 8 / 30 * settings.n if name in smallest else None
        bars = {"shares": SHARES.get(name, (None, None)), "most": 1 if name == COLOUR else 2}
        measure_counts(lab, "C1", name, nets[name], sizes[name], **bars, beyond_rows=beyond_rows)
    if settings.colour is None:
        lab.measure("C1", untested=NO_COLOUR, what=COLOUR)
    for name in smallest:
        measure_consensus(lab, name, nets[name], settings.n)
    for name in ten_classes:
        measure_counts(lab, "C2", name, nets[name], sizes[name], shares=SHARES.get(name, (None, None)))
    measure_classes(lab, nets[TEN_CLASSES], nets[CONVERGED], settings.n)
    measure_decay(lab, {name: nets[name] for name in decays}, settings.n)
    lab.measure("C5", untested=NO_HUNDRED, what="networks of 100 classes")

    colour_images = {f"recovered-colour-{sizes[name]}": name for name in kinds if COLOUR in name}
    for figure, name in {"recovered": CONVERGED, **colour_images}.items():
        lab.figure(figure, draw_best(nets[name]), caption=IMAGES_CAPTION.format(name))
    lab.figure("counts", draw_counts(nets, {**two_classes, **ten_classes}), caption=COUNTS_CAPTION)
    lab.table("networks", rows(nets, kinds), caption=TABLE_CAPTION)


def attack(lab: Lab, settings: Settings, name: str, kind: Kind) -> Grid:
    """Train the networks of one kind, search each in cells of a few restarts, and score all that was found."""
    stem, on = name.replace(" ", "-").replace(",", ""), {"device": str(lab.device)}
    kinds_and_seeds = {"kind": (kind,), "seed": kind.seeds}
    trained = lab.grid(partial(train_network, **on), settings, name=f"{stem}-training", **kinds_and_seeds)
    searches = [  # a grid each, so that a few restarts are resumed at a time
        lab.grid(partial(search, draw=draw, **on), settings, name=f"{stem}-search-{draw}", after=trained)
        for draw in range(-(-kind.n_restarts // settings.restarts_at_once))
    ]
    cells = zip(trained, *searches, strict=True)
    attacked = Grid(trained.factors, tuple({"weights": weights, "searches": found} for weights, *found in cells))
    return lab.grid(partial(score, **on), settings, name=f"{stem}-score", after=attacked).at(kind=kind)


SHARES: dict[str, tuple[float, float | None]] = {
    CONVERGED: (16 / 30, 8 / 30),
    "binary networks of short training": (14 / 30, 5 / 30),
    "binary networks of two hidden layers": (18 / 30, 5 / 30),
    "binary networks of three hidden layers": (12 / 30, None),
    COLOUR: (12 / 30, None),
    "binary networks of 50 images": (0.4, None),
    "binary networks of 100 images": (0.15, None),
    TEN_CLASSES: (20 / 30, None),
    f"{TEN_CLASSES}, 50 images": (0.3, None),
}
"""Share of the training images that must be recovered with NCC > 0.75 and > 0.9, set before the first run; the paper
shows plots and no count. Counts without a bar are in the table."""


def measure_consensus(lab: Lab, name: str, found: Grid, n: int) -> None:
    """C6: what the consensus is worth to an attacker who has no training data."""
    shortlist = f"the {n} candidates that most restarts agree on"
    kept = found["agreed, NCC > 0.75"] / np.maximum(found["NCC > 0.75"], 1)
    what = f"{name}: share of the recovered images (NCC > 0.75) among {shortlist}"
    lab.measure("C6", kept, at_least=0.75, what=what)
    what = f"{name}: share of {shortlist} that match some training image (NCC > 0.75)"
    lab.measure("C6", found["agreed, precision"], at_least=0.7, what=what)


def measure_classes(lab: Lab, ten: Grid, two: Grid, n: int) -> None:
    """C3: ten classes against two, networks of as many images, width, steps and attack."""
    than = f"{TEN_CLASSES} less {CONVERGED}, {n} images each"
    better = ten["median NCC"] - two["median NCC"]
    lab.measure("C3", better, at_least=0, what=f"median over training images of the best NCC, {than}")
    more = ten["NCC > 0.9"] - two["NCC > 0.9"]
    lab.measure("C3", more, at_least=0, what=f"training images recovered with NCC > 0.9, {than}")


def measure_decay(lab: Lab, decays: Mapping[str, Grid], n: int) -> None:
    """C4: each decay against none, by seed."""
    none, *decayed = decays
    for name in decayed:
        more = decays[name]["NCC > 0.75"] - decays[none]["NCC > 0.75"]
        what = f"training images recovered with NCC > 0.75, of {n}, {name} less none"
        lab.measure("C4", more, at_least=0, what=what)
