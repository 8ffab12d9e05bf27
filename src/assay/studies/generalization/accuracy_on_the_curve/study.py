"""Accuracy on the Curve (Liang, Mao et al., 2023).

Many networks of varying quality are trained where a majority of samples carries an attribute that agrees with the
label, and are tested on majority and minority with balanced labels. The first pool is synthetic: a core feature that is
an exclusive or of two inputs, and an easy attribute that agrees with the label in 50, 70 or 90 % of the training
samples. The second is Modified-CIFAR4 on features of a frozen EfficientNet-Lite0, of which heads of one hidden layer
are trained; the paper fine-tunes whole networks on 20 times as many images. All models of one configuration are trained
in one stack, over shifts and seeds, so that all shifts have the same hyperparameters; seeds differ in training samples
and initial weights. Training sets of images overlap between seeds, since they are drawn from one bank.

C1, C2 and C4 are undecided as a whole. All bars on the synthetic pool are cleared except one of C4: without spurious
correlation a line explains 0.82 of the variance, and 0.85 was asked for. On Modified-CIFAR4 the accuracy gap grows with
the correlation, as claimed, but the curve of the rare subpopulation (V2) bends as much as that of the spurious one
(V1), and in the controlled experiment heads lie above the chord on average: heads on features of 500 images are not
the fine-tuned networks of the paper. Nothing else was tried. The theorem fits the gap between attributes in the
synthetic pool, since what networks do worse within the two labels has opposite signs and cancels: cells of label and
attribute show it, that gap does not.
"""

from functools import partial

import numpy as np

from assay.lab import Claim, Lab, Paper, Study
from assay.studies.generalization.accuracy_on_the_curve.analysis import ALIGNED, shapes, summary
from assay.studies.generalization.accuracy_on_the_curve.cells import (
    coin_mixture,
    synthetic_pool,
    theorem_on_distributions,
    theorem_on_samples,
)
from assay.studies.generalization.accuracy_on_the_curve.figures import draw_moons
from assay.studies.generalization.accuracy_on_the_curve.measures import (
    measure_images,
    measure_strata,
    measure_synthetic,
    report_gaps,
)
from assay.studies.generalization.accuracy_on_the_curve.settings import Pool, Settings

STUDY = Study(
    slug="accuracy-on-the-curve",
    paper=Paper(
        "Accuracy on the Curve: On the Nonlinear Correlation of ML Performance Between Data Subpopulations",
        "Liang, Mao, Kwon, Yang, Zou",
        2023,
        arxiv="2305.02995",
        venue="ICML 2023",
    ),
    methods=(
        "generalization.moon_shape",
        "generalization.train_model_pool",
        "generalization.spurious_counts",
        "generalization.modified_cifar4",
        "generalization.subgroup_accuracy",
        "generalization.accuracy_gap",
        "generalization.accuracy_gap_theorem",
    ),
    claims={
        "C1": Claim(
            "Under subpopulation shift, shifted accuracy is a nonlinear function of in-distribution accuracy",
            paper="figures of six data sets, state no number",
        ),
        "C2": Claim(
            "Minority against majority accuracy has the shape of a moon: flat or falling, then steep",
            paper="figure of Modified-CIFAR4 V1: minority stays near 0.4-0.5 while majority goes from 0.5 to 0.9, then "
            "climbs to about 0.9",
        ),
        "C3": Claim(
            "The shape holds over architectures, hyperparameters, durations of training and degrees of imbalance",
            paper="figures by architecture and by epochs, state no number",
        ),
        "C4": Claim(
            "Spurious correlation causes it: the stronger the correlation, the more the curve bends",
            paper="controlled experiment with strengths 0.2, 0.6, 0.7, 0.78, states no number",
        ),
        "C5": Claim(
            "The accuracy gap between subgroups is an explicit function of the strength of the spurious correlation",
            paper="theorem, states no measured number",
        ),
        "C6": Claim(
            "Selection and extrapolation by in-distribution accuracy are misleading for the minority",
            paper="discussion, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            shares=(0.5, 0.9),
            n=200,
            n_test=100,
            synthetic=Pool((4, 16), (1e-3, 5e-2), (1, 5, 10), (16, 32), models=6),
            seeds=2,
            encoder="pixels",
            bank=60,
            images=60,
            test_images=50,
            heads=Pool((4, 16), (1e-3, 1e-2, 5e-2), (1, 10), (16,)),
            image_seeds=2,
            exact=10,
            samples=20_000,
        ),
        "small": Settings(),
        "paper": Settings(
            synthetic=Pool((4, 8, 16, 64, 256), (1e-4, 2e-2), (1, 2, 5, 10, 25), (16, 32, 64, 128), models=100),
            seeds=20,
            n_test=5000,
            bank=5000,
            images=10_000,
            test_images=1000,
            heads=Pool((4, 16, 64, 256, 1024), (1e-4, 5e-4, 1e-3, 5e-3, 1e-2), (1, 5, 10, 25), (8, 16, 32, 64, 128)),
            image_seeds=10,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Check the theorem, then measure both pools."""
    measure_theorem(lab, settings)
    pool = lab.grid(synthetic_pool, settings, width=settings.synthetic.widths)
    right, count = pool["right"], pool["count"][0]  # width, model, share, seed, cell
    by_share = {share: right[:, :, place] for place, share in enumerate(settings.shares)}
    found = {share: shapes(np.concatenate(cells), count, ALIGNED) for share, cells in by_share.items()}
    measure_synthetic(lab, by_share, count)
    measure_strata(lab, settings, by_share, count)
    report_gaps(lab, settings, by_share, count)
    rows = [{"aligned": f"{share:.0%}"} | summary(moons) for share, moons in found.items()]
    lab.table("synthetic", rows, caption="Synthetic pool by share of aligned training samples; means over seeds")
    panels = {f"{share:.0%} aligned": moons[0] for share, moons in found.items()}
    lab.figure("synthetic", draw_moons(panels), caption="Synthetic pool, first seed: one dot a network")
    if heads := measure_images(lab, settings):
        lab.figure("images", draw_moons(heads), caption="Modified-CIFAR4, first seed: one dot a head")


def measure_theorem(lab: Lab, settings: Settings) -> None:
    """C5: exact sums, estimates, and what happens where the assumption is broken."""
    exact = lab.cached("theorem-on-distributions", partial(theorem_on_distributions, settings))
    drawn = lab.grid(theorem_on_samples, settings, seed=settings.seeds)
    coin = lab.grid(coin_mixture, settings, seed=settings.seeds)
    what = f"largest error of the theorem on {settings.exact} discrete distributions, both sides summed exactly"
    lab.measure("C5", exact["difference"], at_most=1e-12, what=what)
    what = "largest error of r a + (1 - r) b as the accuracy of a mixture, discrete distributions summed exactly"
    lab.measure("C5", exact["identities"], at_most=1e-12, what=what)
    what = f"error of the theorem on {settings.samples:,} samples whose answers depend on the label only"
    if settings.samples >= 200_000:
        lab.measure("C5", drawn["independent"], at_most=0.005, what=what)
    else:
        lab.measure("C5", untested="the bar is for 200,000 samples", what=what)
    what = "residual of the gap on samples whose answers depend on the attribute, which the theorem excludes"
    lab.measure("C5", drawn["dependent residual"], at_least=0.02, what=what)
    what = "distance of a choice by coin between two networks from their chord, mean of standard errors over seeds"
    scaled = abs(coin["standard errors"].sum()) / len(coin) ** 0.5
    lab.measure("C2", float(scaled), at_most=3, what=what)
