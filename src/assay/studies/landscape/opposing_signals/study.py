"""Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization (Rosenfeld and Risteski, 2024).

Small groups of samples share a large feature but not the label; they pull the network in opposite directions.
Training enters the valley where the two balance, useful learning sharpens it, and the loss spikes when steps become
too large for it. The two-layer linear model shows this in closed form. Networks are trained on two classes with
planted outliers and on the same samples without their feature, and a small convolution network on Fashion-MNIST.

C1 fails on images: the pair found at the largest rise of the loss moves in opposite directions in more rising steps
than random groups of its sizes, but by less than the bar; other pairs take over in other steps. C4 is undecided: in
three of eight networks other samples of high loss oppose each other more strongly at the step of the search. C7 holds
at the largest learning rates without a rise of the loss. At the fastest rates of the grid, where gradient descent
passes through rises, outliers slow it no more than Adam. Nothing else was tried.

The run at this scale was made three times. The first followed the groups at the rate of 0.04 alone, at which two of
eight seeds never became unstable; after it C1 and C3 were measured at 0.05 too. The second trained both rates at 0.04
by mistake. No bar moved.

Only the paper's abstract and public reviews were read: the linear model and its closed forms are derived here, and
SplitSGD is a reconstruction from memory. Residual networks, vision transformers and text models are not trained here.
"""

from typing import Any

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study, plots
from assay.studies.landscape.opposing_signals.cells import (
    cosine,
    detection,
    images,
    linear_descent,
    linear_flow,
    planted,
)
from assay.studies.landscape.opposing_signals.figures import draw_antiphase, draw_sharpness, draw_spike
from assay.studies.landscape.opposing_signals.optimizers import OPTIMIZERS, optimizers
from assay.studies.landscape.opposing_signals.settings import Settings

ABSTRACT = "abstract, states no number"
FEATURE = (True, False)
RATIOS = (0.8, 1.1, 1.5)

STUDY = Study(
    slug="opposing-signals",
    paper=Paper(
        "Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization",
        "Rosenfeld, Risteski",
        2024,
        arxiv="2311.04163",
        venue="ICLR 2024",
    ),
    methods=(
        "landscape.opposing.find_opposing_groups",
        "landscape.opposing.per_sample_loss_change",
        "landscape.opposing.track_opposing",
        "landscape.opposing.OpposingLinearModel",
        "landscape.opposing.make_opposing_outliers",
        "landscape.opposing.SplitSGD",
    ),
    claims={
        "C1": Claim(
            "Paired groups of outliers with opposing signals dominate how the training loss changes", paper=ABSTRACT
        ),
        "C2": Claim("They cause progressive sharpening and training at the edge of stability", paper=ABSTRACT),
        "C3": Claim(
            "Early training enters a valley that balances the groups; sharpening then makes their losses oscillate in "
            "antiphase until the total loss spikes",
            paper=ABSTRACT,
        ),
        "C4": Claim("The groups can be identified, and are set apart by their feature and effect", paper=ABSTRACT),
        "C5": Claim("A two-layer linear network shows the mechanism in closed form", paper="theorems, state no number"),
        "C6": Claim("New qualitative predictions are confirmed", paper=ABSTRACT),
        "C7": Claim("Opposing outliers slow gradient descent and hardly Adam", paper="case study, states no number"),
    },
    scales={
        "smoke": Settings(
            seeds=2, flow_time=4.0, descent_steps=100, samples=100, steps=60, found_at=60, cosine_steps=12,
            most_steps=30, rates=2, images=40, image_steps=12,
        ),
        "small": Settings(),
        "paper": Settings(seeds=20, most_steps=10_000, rates=8, images=5000, image_steps=2000),
    },
)  # fmt: skip


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure the linear model first, then the networks with planted outliers, images and the optimisers."""
    seeds = settings.seeds
    flow = lab.grid(linear_flow, settings, seed=seeds)
    descent = lab.grid(linear_descent, settings, ratio=RATIOS, seed=seeds)
    rates = settings.lr, settings.unstable_lr
    trained = lab.grid(planted, settings, lr=rates, feature=FEATURE, seed=seeds)
    calm, followed = (trained.at(lr=rate) for rate in rates)
    angles = lab.grid(cosine, settings, feature=FEATURE, seed=seeds)
    searched = lab.grid(detection, settings, feature=FEATURE, seed=seeds)
    pictures = lab.grid(images, settings, seed=seeds)
    raced = lab.grid(optimizers, settings, optimizer=tuple(OPTIMIZERS), feature=FEATURE, seed=seeds)
    measure_effect(lab, followed, angles, pictures)
    measure_sharpening(lab, calm, flow)
    measure_spikes(lab, descent, followed, flow)
    measure_detection(lab, searched)
    measure_closed_forms(lab, flow)
    measure_predictions(lab, flow, searched, calm, descent)
    measure_optimizers(lab, raced)
    show_tables(lab, flow, descent, trained, searched, pictures, raced)
    show_figures(lab, flow, descent, followed, pictures)


def measure_effect(lab: Lab, followed: Grid, angles: Grid, pictures: Grid) -> None:
    """C1: how much the planted samples, and groups found among images, move in steps where the loss rises."""
    with_feature = followed.at(feature=True)
    what = "planted samples' share of the 20 largest loss changes in rising steps, gradient descent (chance 0.05)"
    lab.measure("C1", with_feature["hit share"], at_least=0.5, what=what)
    what = "rising steps in which the planted groups' losses move in opposite directions, gradient descent"
    lab.measure("C1", with_feature["opposite"], at_least=0.8, what=what)
    what = "cosine of the planted groups' gradients in training, tanh network with cross-entropy"
    lab.measure("C1", angles.at(feature=True)["gradient cosine"], at_most=-0.7, what=what)
    what = "control: cosine of the gradients of the same samples without their feature, tanh network"
    lab.measure("C1", angles.at(feature=False)["gradient cosine"], at_least=-0.6, what=what)
    what = (
        "Fashion-MNIST: share of rising steps in which the groups found at the largest rise move in opposite "
        "directions, less that of random groups of their sizes"
    )
    lab.measure("C1", pictures["opposite"] - pictures["opposite by chance"], at_least=0.2, what=what)
    what = "text models: pairs of punctuation with opposing signals"
    lab.measure("C1", untested="no language model is trained at this scale", what=what)


def measure_sharpening(lab: Lab, calm: Grid, flow: Grid) -> None:
    """C2: sharpness with the feature over that without it, and along gradient flow of the linear model."""
    ratio = calm.at(feature=True)["sharpness"] / calm.at(feature=False)["sharpness"]
    what = "sharpness after training with the outliers' feature over that without it, gradient descent"
    lab.measure("C2", ratio, at_least=1.8, what=what)
    what = "linear model: sharpness at the end of gradient flow over that at the start"
    lab.measure("C2", flow["growth"], at_least=2.0, what=what)
    what = "links to grokking, to sharpness-aware minimisation and to simplicity bias"
    lab.measure("C2", untested="the abstract names the links without a measurement that could be repeated", what=what)


def measure_spikes(lab: Lab, descent: Grid, followed: Grid, flow: Grid) -> None:
    """C3: spikes of the linear model, sign by sign, and of the network."""
    what = "linear model: time until a tenth of the outliers' weight is left over time until half of the sharpening"
    lab.measure("C3", flow["valley over sharpening"], at_most=1.0, what=what)
    for ratio in RATIOS[1:]:
        found, size = descent.at(ratio=ratio), f"steps of {ratio:g} times the largest stable size"
        what = f"linear model: decimal logarithm of the highest loss over the lowest before it, {size}"
        lab.measure("C3", np.log10(found["spike"]), at_least=2.0, what=what)
        what = (
            f"linear model: steps from the lowest loss to the spike in which the outliers' weight changes sign, {size}"
        )
        lab.measure("C3", found["sign flips"], at_least=0.95, what=what)
        what = f"linear model: final sharpness over the edge of stability, {size}"
        lab.measure("C3", found["final over edge"], at_most=1.0, what=what)
    what = "rising steps after which the planted groups' losses both turn around, gradient descent"
    lab.measure("C3", followed.at(feature=True)["flips"], at_least=0.8, what=what)


def measure_detection(lab: Lab, searched: Grid) -> None:
    """C4: what the search says of a network trained with the feature, and of one without it."""
    with_feature = searched.at(feature=True)
    what = "share of the found pair that is planted, network trained with the feature"
    lab.measure("C4", with_feature["precision"], at_least=0.5, what=what)
    what = "networks trained with the feature in which the search finds opposing groups"
    lab.measure("C4", with_feature["found"], at_least=0.5, of=1, what=what)
    what = "control: networks trained without the feature in which the search finds opposing groups"
    lab.measure("C4", searched.at(feature=False)["found"], at_most=0.5, of=1, what=what)
    what = "loss change of the found pair over that of as many samples of highest loss, trained with the feature"
    lab.measure("C4", with_feature["pair outsize"] / with_feature["high-loss outsize"], at_least=1.0, what=what)
    what = "cosine of the found groups' gradients, network trained with the feature"
    lab.measure("C4", with_feature["pair cosine"], at_most=-0.7, what=what)


def measure_closed_forms(lab: Lab, flow: Grid) -> None:
    """C5: the formulas against the numerical solution and automatic differentiation."""
    what = "linear model: relative error of the formula for the final sharpness of gradient flow"
    lab.measure("C5", flow["formula error"], at_most=1e-3, what=what)
    what = "linear model: drift of the conserved quantity along gradient flow"
    lab.measure("C5", flow["drift"], at_most=0.005, what=what)
    what = "linear model: largest error of an entry of the Hessian formula against automatic differentiation"
    lab.measure("C5", flow["Hessian error"], at_most=1e-8, what=what)


def measure_predictions(lab: Lab, flow: Grid, searched: Grid, calm: Grid, descent: Grid) -> None:
    """C6: growth with the target's norm, and interventions on the samples."""
    what = "linear model: distance from 2 of the ratio of final sharpness for a target of twice the norm"
    lab.measure("C6", abs(flow["doubled target"] - 2), at_most=0.2, what=what)
    what = "linear model: highest sharpness over the edge of stability, steps of 0.8 times the largest stable size"
    lab.measure("C6", descent.at(ratio=0.8)["highest over edge"], at_most=1.0, what=what)
    with_feature = searched.at(feature=True)
    what = "sharpness of the loss without the planted samples over that with them, at the weights trained with them"
    lab.measure("C6", with_feature["sharpness without planted"], at_most=1 / 1.8, what=what)
    what = "control: sharpness of the loss without as many random samples over that with them, trained with the feature"
    lab.measure("C6", with_feature["sharpness without random"], at_least=0.9, what=what)
    what = "control: steps in which the loss rises, gradient descent on the samples without the feature"
    lab.measure("C6", calm.at(feature=False)["rises"], at_most=0.0, what=what)


def measure_optimizers(lab: Lab, raced: Grid) -> None:
    """C7: steps to the target at the largest learning rate without a rise of the loss, with the feature and without.

    Every optimiser gets the same tuning: a grid of doubling learning rates, on each data set.
    """
    bars: dict[str, dict[str, Any]] = {
        "gradient descent": {"at_least": 1.5},
        "Adam": {"at_most": 1.3},
        "SplitSGD": {"at_most": 1.3},
    }
    for name, bar in bars.items():
        found = raced.at(optimizer=name)
        ratio = found.at(feature=True)["stable steps"] / found.at(feature=False)["stable steps"]
        what = f"{name}: steps to the target with the outliers over those without, largest rates without a rise"
        lab.measure("C7", ratio, what=what, **bar)
        best = found.at(feature=True)["best steps"] / found.at(feature=False)["best steps"]
        what = f"{name}: steps to the target with the outliers over those without, fastest rates of the grid"
        lab.measure("C7", best, what=what)
    descent = raced.at(optimizer="gradient descent")
    more = (descent.at(feature=True)["rises"] - descent.at(feature=False)["rises"])[:, :4].sum(1)
    what = "gradient descent: rising steps with the outliers less those without, rates up to 8 times the smallest"
    lab.measure("C7", more, at_least=1, what=what)


def show_tables(
    lab: Lab, flow: Grid, descent: Grid, trained: Grid, searched: Grid, pictures: Grid, raced: Grid
) -> None:
    """Keep the figures behind the evidence."""
    columns = ("initial sharpness", "final sharpness", "formula error", "drift", "valley over sharpening")
    lab.table("flow", flow, columns=columns, caption="Gradient flow of the linear model")
    columns = ("peak", "peak step", "sign flips", "highest over edge", "final over edge", "loss after 50 steps")
    lab.table("descent", descent, columns=columns, caption="Gradient descent on the linear model by size of the step")
    columns = ("rises", "hit share", "opposite", "flips", "outsize", "sharpness")
    lab.table("planted", trained, columns=columns, caption="Gradient descent by learning rate and outliers' feature")
    columns = (
        *("found", "precision", "pair outsize", "held-out outsize", "high-loss outsize", "opposition over high loss"),
        *("alignment", "sharpness without planted", "sharpness without pair", "sharpness without random"),
        "sharpness without high loss",
    )
    lab.table("detection", searched, columns=columns, caption="Search in one trained network, and sharpness left")
    columns = ("rises", "opposite", "opposite by chance", "flips", "one class", "outsize")
    lab.table("images", pictures, columns=columns, caption="Groups found on Fashion-MNIST at the largest rise")
    columns = ("stable rate", "stable steps", "best rate", "best steps")
    lab.table("optimizers", raced, columns=columns, caption="Learning rates and steps to the target by optimiser")


def show_figures(lab: Lab, flow: Grid, descent: Grid, followed: Grid, pictures: Grid) -> None:
    """Draw the first seed."""
    caption = "Mean loss of the two planted groups and of all samples around the largest rise, gradient descent"
    lab.figure("antiphase", draw_antiphase(followed.at(feature=True).cells[0]), caption=caption)
    caption = "Linear model, steps of 1.1 times the largest stable size: loss, and weight on the outliers' feature"
    lab.figure("spike", draw_spike(descent.at(ratio=1.1).cells[0]), caption=caption)
    lab.figure("sharpening", draw_sharpness(flow), caption="Sharpness of the linear model along gradient flow")
    first = pictures.cells[0]
    rows = {"rises": first["rising images"], "falls": first["falling images"]}
    caption = "Fashion-MNIST images whose loss rises most, and falls most, in the step of the largest rise"
    lab.figure("images", plots.image_rows(rows), caption=caption)
