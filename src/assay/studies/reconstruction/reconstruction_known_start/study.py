"""Understanding Reconstruction Attacks with the Neural Tangent Kernel and Dataset Distillation (Loo et al., 2024).

The paper reconstructs from the displacement of the weights, their start being known, in networks that train lazily. All
claims here are ours, on networks as tutorials train them: PyTorch's default initialisation under a small seed, biases
in every layer, inputs in [0, 1] or normalised, SGD with or without momentum, minibatches and decay. The attack guesses
the seed and gets nothing else but the mean and spread of other images of the kind.

Scores are strict: the population's mean image is taken out of candidates and images. Nulls are as many held-out images
in the place of the training images, beside those that a training image itself matches, and the attack from a wrong
start.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study, plots
from assay.studies.reconstruction.reconstruction_known_start.cells import attack_head, attack_row, displacement
from assay.studies.reconstruction.reconstruction_known_start.networks import ONE_LAYER, ROWS, TWO_LAYERS, embed
from assay.studies.reconstruction.reconstruction_known_start.settings import Settings

STAND_IN = "this scale runs on a random convolution network in the place of EfficientNet-Lite0"

STUDY = Study(
    slug="reconstruction-known-start",
    paper=Paper(
        "Understanding Reconstruction Attacks with the Neural Tangent Kernel and Dataset Distillation",
        "Loo, Hasani, Lechner, Amini, Rus",
        2024,
        arxiv="2302.01428",
    ),
    methods=("reconstruction.KnownStartReconstructor", "reconstruction.guess_initial_state"),
    claims={
        "C1": Claim("The seed of a network is found from its weights", ours=True),
        "C2": Claim("The rank of the displacement is the number of training samples, unless Adam trained", ours=True),
        "C3": Claim("With one hidden layer nearly the whole training set comes back", ours=True),
        "C4": Claim("With two hidden layers most of the training set comes back", ours=True),
        "C5": Claim("A network that is fine-tuned from a public checkpoint gives its samples away", ours=True),
        "C6": Claim("A head on frozen features gives its samples away", ours=True),
        "C7": Claim("A wrong start gives nothing", ours=True),
        "C8": Claim("Held-out images are matched no more often than they resemble a training image", ours=True),
        "C9": Claim(
            "Adam moves the weights out of the samples' span, and the attack says that it finds nothing", ours=True
        ),
    },
    scales={
        "smoke": Settings(
            digits="fashion",
            clothes="fashion",
            n=10,
            width=200,
            deep_width=150,
            tried=30,
            n_iter=100,
            n_restarts=2,
            most_epochs=120,
            base_images=200,
            features=60,
            stand_in=True,
            sizes=(2, 10),
        ),
        "small": Settings(),
        "paper": Settings(seeds=10, features=500),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack networks of every kind (C1 to C5, C7, C8), heads on features (C6), and look at Adam's steps (C9)."""
    settings = replace(settings, digits=lab.data(settings.digits), clothes=lab.data(settings.clothes))
    found = lab.grid(attack_row, settings, name="networks", row=tuple(ROWS), seed=settings.seeds)
    told = {name: row for name, row in found.by("row").items() if name != "Adam"}
    measure_start(lab, told)
    measure_recovery(lab, "C3", settings, {name: told[name] for name in ONE_LAYER}, (27, 29, 24))
    measure_recovery(lab, "C4", settings, {name: told[name] for name in TWO_LAYERS}, (24, 0, 0))
    measure_recovery(lab, "C5", settings, {"fine-tuned": told["fine-tuned"]}, (24, 0, 0))
    measure_nulls(lab, told)
    measure_heads(lab, settings)
    measure_adam(lab, settings, found.at(row="Adam"))
    lab.table("networks", found, columns=COLUMNS, caption=f"Networks of {settings.n} samples: images found, and nulls")
    first = told["SGD"].cells[0]
    caption = "Training images of the first network, and what came back of each, with their correlation"
    lab.figure("recovered", plots.image_pairs(first["train"], first["found"], first["ncc"]), caption=caption)


COLUMNS = (
    *("exact", "candidates > 0.9", "candidates > 0.75", "reconstructions > 0.9", "reconstructions > 0.75"),
    *("held out, candidates > 0.9", "held out, candidates > 0.75", "look-alikes > 0.9", "look-alikes > 0.75"),
)


def total(rows: dict[str, Grid], name: str) -> np.ndarray:
    """Return the sum over kinds of networks, one value a seed."""
    return np.sum([np.asarray(row[name], dtype=float) for row in rows.values()], axis=0)


def measure_start(lab: Lab, rows: dict[str, Grid]) -> None:
    """C1, C2 on every network that Adam did not train; the start of fine-tuned ones is given."""
    guessed = {name: row for name, row in rows.items() if name != "fine-tuned"}
    share = total(guessed, "start found") / len(guessed)
    lab.measure("C1", share, at_least=1.0, what="share of the networks whose seed is found, all kinds but fine-tuned")
    share = total(rows, "count exact") / len(rows)
    lab.measure("C2", share, at_least=1.0, what="share of the networks without Adam whose samples are counted exactly")


def measure_recovery(
    lab: Lab, claim: str, settings: Settings, rows: dict[str, Grid], bars: tuple[float, float, float]
) -> None:
    """C3 to C6: shares of the samples, over all kinds of networks; bars are of 30 samples."""
    images, kinds = settings.n * len(rows), ", ".join(rows)
    for name, bar in zip(("candidates > 0.9", "candidates > 0.75", "reconstructions > 0.9"), bars, strict=True):
        what = f"share of the training samples matched by {name} ({kinds})"
        if bar:
            lab.measure(claim, total(rows, name), of=images, at_least=bar / 30, what=what)
        else:
            lab.measure(claim, total(rows, name) / images, what=what)


def measure_nulls(lab: Lab, rows: dict[str, Grid]) -> None:
    """C7, C8: the attack from a wrong start, and held-out images beside those that resemble a training image."""
    what = "training images matched above 0.75 by candidates from a wrong start, over all networks without Adam"
    lab.measure("C7", total(rows, "wrong start > 0.75"), at_most=0.0, what=what)
    for least in (0.9, 0.75):
        for name in ("reconstructions", "candidates"):
            excess = (total(rows, f"held out, {name} > {least}") - total(rows, f"look-alikes > {least}")) / len(rows)
            what = f"held-out images matched by {name} > {least}, less those matched by a training image, a network"
            lab.measure("C8", excess, at_most=0.0 if name == "reconstructions" else None, what=what)


def measure_heads(lab: Lab, settings: Settings) -> None:
    """C6: heads of two layers on features of CIFAR-10 images."""
    source = lab.data("cifar10") or "fashion"
    stand_in = settings.stand_in or source != "cifar10"
    pool: Any = lab.cached("features", partial(embed, settings, "fashion" if stand_in else source))
    heads = lab.grid(partial(attack_head, pool=pool), settings, name="heads", seed=settings.seeds)
    rows = {"heads": heads}
    if stand_in:
        lab.measure("C6", untested=STAND_IN, what="heads on features of EfficientNet-Lite0")
    measure_recovery(lab, "C6", settings, rows, (24, 0, 0))
    for name, bar in (("start found", "whose seed is found"), ("count exact", "whose samples are counted exactly")):
        lab.measure("C6", total(rows, name), what=f"share of the heads {bar}")
    excess = total(rows, "held out, reconstructions > 0.9") - total(rows, "look-alikes > 0.9")
    what = "heads: held-out samples matched by reconstructions > 0.9, less those matched by a training sample"
    lab.measure("C6", excess, at_most=0.0, what=what)
    lab.table("heads", heads, columns=COLUMNS, caption=f"Heads on frozen features of {settings.n} images")


def measure_adam(lab: Lab, settings: Settings, attacked: Grid) -> None:
    """C9: what the displacement is like beside that of SGD, and what the attack says and gives."""
    moved = lab.grid(displacement, settings, optimizer=("SGD", "Adam"), n=settings.sizes, seed=settings.seeds)
    columns = (
        *("rank", "share outside", "directions of 99%", "median entry"),
        *("rows > 0.75", "held out, rows > 0.75", "look-alikes > 0.75"),
    )
    lab.table(
        "displacement", moved, columns=columns, caption="Displacement of the first layer by optimiser and samples"
    )
    share = moved["share outside"]
    what = "share of the squared displacement outside the samples' span, largest over numbers of samples, SGD"
    lab.measure("C9", share[0].max(0), at_most=1e-6, what=what)
    what = "share of the squared displacement outside the samples' span, smallest over numbers of samples, Adam"
    lab.measure("C9", share[1].min(0), at_least=0.1, what=what)
    what = "share of the networks trained by Adam of which nothing is claimed, neither count nor reconstructions"
    lab.measure("C9", np.asarray(attacked["nothing claimed"], dtype=float), at_least=1.0, what=what)
    lab.measure(
        "C9", attacked["reconstructions > 0.75"], what="Adam: training images matched by reconstructions > 0.75"
    )
