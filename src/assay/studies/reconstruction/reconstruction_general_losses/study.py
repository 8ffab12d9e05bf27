"""Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses (Buzaglo et al., 2023).

The paper attacks dense networks of two hidden layers and convolutional ones, trained for up to a million epochs on 500
images of CIFAR-10; here 10 to 50 images, one hidden layer and thousands of steps, and the attack's defaults
on every network. Ten classes are attacked through the exact stationarity of cross-entropy with weight decay (the
objective "vector"), regressions without labels (the objective "regression").

The convolutional networks read 8 x 8 digits: 3 x 3, four channels, a hidden layer. All of input space is searched. Ten
classes and weight decay were chosen on one other seed, steps on two of these, the attack's pace there on four; features
of two classes alone gave no more than random candidates.

A training image counts as recovered when a candidate correlates with it by more than 0.75 or 0.9 after the mean image
is taken out (NCC), best of all restarts. For regressions candidates and nulls count with both signs. Nulls are random
candidates and as many unseen images. Three seeds left most intervals wide; three were added, the bars as they were.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.reconstruction.reconstruction_general_losses import networks
from assay.studies.reconstruction.reconstruction_general_losses.cells import attack
from assay.studies.reconstruction.reconstruction_general_losses.figures import (
    COLUMNS,
    IMAGES_CAPTION,
    TABLE_CAPTION,
    TREND_CAPTION,
    draw_best,
    draw_trend,
)
from assay.studies.reconstruction.reconstruction_general_losses.networks import decayed, sized, wide
from assay.studies.reconstruction.reconstruction_general_losses.settings import Settings
from assay.studies.reconstruction.shared.counts import measure_counts

ABSTRACT = "abstract, states no number"

STUDY = Study(
    slug="reconstruction-general-losses",
    paper=Paper(
        "Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses",
        "Buzaglo, Haim, Yehudai, Vardi, Oz, Nikankin, Irani",
        2023,
        arxiv="2307.01827",
    ),
    methods=(
        "reconstruction.KKTReconstructor",
        "reconstruction.score_reconstructions",
        "reconstruction.train_in_span",
    ),
    claims={
        "C1": Claim(
            "Training samples can be recovered from the weights of networks of several classes", paper=ABSTRACT
        ),
        "C2": Claim("Training samples can be recovered from the weights of convolutional networks", paper=ABSTRACT),
        "C3": Claim(
            "Recovery works for a wide range of losses with weight decay, regression losses among them", paper=ABSTRACT
        ),
        "C4": Claim("Weight decay in training increases how many samples are recovered, and how well", paper=ABSTRACT),
        "C5": Claim(
            "The number of neurons relative to the number of training samples influences recovery",
            paper="abstract, states neither a number nor a direction",
        ),
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
    settings = replace(settings, source=lab.data(settings.source))
    ten_classes, convolutions = networks.ten_classes(settings), networks.convolutions(settings)
    regressions, trends = networks.regressions(settings), networks.trends(settings)
    kinds = {**ten_classes, **convolutions, **regressions, **trends}
    found = lab.grid(
        partial(attack, device=str(lab.device)),
        settings,
        name="attack",
        network=tuple(dict.fromkeys(kinds.values())),  # some networks stand in two trends
        seed=settings.seeds,
    )
    by_name = [cell for victim in kinds.values() for cell in found.at(network=victim)]
    nets = Grid({"network": tuple(kinds), "seed": found.factors["seed"]}, tuple(by_name))

    for claim, group in (("C1", ten_classes), ("C3", regressions)):
        for name, victim in group.items():
            measure_counts(lab, claim, name, nets.at(network=name), victim.n, shares=SHARES.get(name, (None, None)))
    for name in convolutions:
        measure_convolution(lab, name, nets.at(network=name))
    measure_decays(lab, settings, nets)
    measure_neurons(lab, settings, nets)
    for label, (name, places) in {
        "weight decay": (decayed, settings.decays),
        f"hidden units, {settings.n} images": (wide, settings.widths),
        f"training images, {settings.widths[-1]} hidden units": (sized, settings.sizes),
    }.items():
        figure = draw_trend(nets, map(name, places), places, label)
        lab.figure(f"trend-{name.__name__}", figure, caption=TREND_CAPTION.format(label))
    lab.figure("recovered", draw_best(nets.at(network=networks.SQUARED_ERROR)), caption=IMAGES_CAPTION)
    sizes = {"n": settings.n, "regression_n": settings.regression_n, "convolution_n": settings.convolution_n}
    lab.table("networks", nets, columns=COLUMNS, caption=TABLE_CAPTION.format(**sizes))


# The bars were set before the first run; the paper shows plots and no count.
SHARES = {
    networks.each_of_ten(3): (0.4, None),
    networks.each_of_ten(5): (0.2, None),
    networks.SQUARED_ERROR: (0.4, 0.1),
    networks.HUBER_LOSS: (0.4, 0.1),
}
"""Share of the training images that must be recovered with NCC > 0.75 and > 0.9; others are in the table."""

MEDIAN = "median over training images of the best NCC"


def measure_convolution(lab: Lab, name: str, found: Grid) -> None:
    """C2: medians, since few images of a convolutional network reach any threshold."""
    for null, than in {"held out": "that over held-out images", "random": "that with random candidates"}.items():
        gain = found["median NCC"] - found[f"{null}: median NCC"]
        lab.measure("C2", gain, at_least=0.05, what=f"{name}: {MEDIAN}, less {than}")


def measure_decays(lab: Lab, settings: Settings, nets: Grid) -> None:
    """C4: networks with and without weight decay, paired over seeds."""
    without = {
        "none": (decayed(settings.decays[0]), 0.25),
        "none from a first layer near zero": (networks.NEAR_ZERO, 0.0),
    }
    for decay in settings.decays[1:]:
        net = nets.at(network=decayed(decay))
        for start, (name, least) in without.items():
            other, than = nets.at(network=name), f"weight decay {decay:g} less {start}, {settings.n} images"
            more = net["NCC > 0.75"] - other["NCC > 0.75"]
            what = f"training images recovered with NCC > 0.75, {than}"
            lab.measure("C4", more, at_least=least * settings.n, what=what)
            better = net["median NCC"] - other["median NCC"]
            lab.measure("C4", better, at_least=least / 2.5, what=f"{MEDIAN}, {than}")


def measure_neurons(lab: Lab, settings: Settings, nets: Grid) -> None:
    """C5: rank correlations within each seed, of the median best NCC with hidden units and with images."""
    images, units = f"{settings.n} training images", f"{settings.widths[-1]} hidden units"
    medians = np.stack([nets.at(network=wide(width))["median NCC"] for width in settings.widths])
    rising = rank_correlations(settings.widths, medians)
    lab.measure("C5", rising, at_least=0, what=f"rank correlation (Spearman) of hidden units and {MEDIAN}, {images}")
    what = f"{MEDIAN}, {units} less {settings.widths[0]}, {images}"
    lab.measure("C5", medians[-1] - medians[0], at_least=0.1, what=what)
    medians = np.stack([nets.at(network=sized(n))["median NCC"] for n in settings.sizes])
    falling = rank_correlations(settings.sizes, medians)
    lab.measure("C5", falling, at_most=0, what=f"rank correlation (Spearman) of training images and {MEDIAN}, {units}")


def rank_correlations(places: Sequence[int], medians: np.ndarray) -> list[float]:
    """Return each seed's rank correlation of what varies with the medians, one row a place."""
    each: list[Any] = [spearmanr(places, median) for median in medians.T]
    return [float(result.statistic) for result in each]
