"""Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear Subspaces (Melamed et al., 2023).

The paper's theorem is tested where it can be tested exactly: on random points of a linear subspace, where the gradient
off the subspace has a known law at the end of training, whatever training did. The same networks are then flipped
off the subspace, with the paper's initialisation, a fifth of it, and weight decay.

Beyond the theorem, images of 3 and 7 get a blank half beside them, which no training sample ever uses. Both halves are
attacked alike, by the same projected gradient descent at the same radii. All images are scaled by one factor to the
mean norm that the theorem asks for, the square root of the dimension.

The paper's own experiments are pictures of decision boundaries in two and three dimensions, with biases; it states
no numbers to compare with, so the bars are ours.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import chi2, kstest

from assay.core import spawn_seeds
from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.lab.plots import image_rows
from assay.studies.adversarial.subspace_adversarial.cells import FARTHEST, flip_points, follow_law
from assay.studies.adversarial.subspace_adversarial.figures import draw_law, draw_radii
from assay.studies.adversarial.subspace_adversarial.images import flip_images
from assay.studies.adversarial.subspace_adversarial.settings import VARIANTS, Images, Settings

DEFAULTS = Settings()
REMEDIES = {"small initialisation": "C3", "weight decay": "C4"}

STUDY = Study(
    slug="subspace-adversarial",
    paper=Paper(
        "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear Subspaces",
        "Melamed, Yehudai, Vardi",
        2023,
        arxiv="2303.00783",
        venue="NeurIPS 2023",
    ),
    methods=(
        "adversarial.OffSubspaceAttack",
        "adversarial.SubspaceBasis",
        "adversarial.off_subspace_gradient",
        "adversarial.off_subspace_radius",
        "nets.TwoLayerReLU",
    ),
    claims={
        "C1": Claim(
            "Training on data of a subspace leaves a large input gradient orthogonal to it",
            paper="abstract, states no number (a theorem; its number is not available to us)",
        ),
        "C2": Claim(
            "Small perturbations orthogonal to the subspace flip the decision",
            paper="abstract, states no number (a theorem; its number is not available to us)",
        ),
        "C3": Claim(
            "A smaller initialisation shrinks the gradient orthogonal to the data and makes networks more robust there",
            paper="abstract, states no number",
        ),
        "C4": Claim(
            "Weight decay shrinks the gradient orthogonal to the data and makes networks more robust there",
            paper="abstract, states no number",
        ),
    },
    scales={
        "smoke": Settings(
            law_seeds=10,
            law=replace(DEFAULTS.law, n_iter=30),
            seeds=2,
            flips=replace(DEFAULTS.flips, n_iter=400),
            image_seeds=2,
            images=Images(source="digits", units=50, n_train=200, steps=300, attacked=20),
        ),
        "small": DEFAULTS,
        "paper": Settings(
            law_seeds=1000, seeds=20, image_seeds=10, images=Images(units=1000, n_train=10_000, attacked=1000)
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Test the exact law first, then the flips, then images."""
    images = replace(settings.images, source=lab.data(settings.images.source, instead="digits"))
    measure_law(lab, settings.law.codim, lab.grid(follow_law, settings.law, seed=settings.law_seeds))
    seeds = spawn_seeds(lab.seed + 1, settings.seeds)
    measure_flips(lab, lab.grid(flip_points, settings.flips, variant=VARIANTS, seed=seeds))
    seeds = spawn_seeds(lab.seed + 2, settings.image_seeds)
    measure_images(lab, lab.grid(flip_images, images, variant=VARIANTS, seed=seeds))


def measure_law(lab: Lab, codim: int, found: Grid) -> None:
    """C1 against the chi-squared law, C4 against the exact contraction."""
    statistics, over = found["statistic"], f"{len(found)} trained networks"
    lab.measure("C1", found["drift"].max(), at_most=0.0, what=f"largest change of a weight off the subspace, {over}")
    pvalue = kstest(statistics, chi2(codim).cdf).pvalue
    what = f"squared gradient off the subspace: Kolmogorov-Smirnov p-value against the chi-squared law, {over}"
    lab.measure("C1", pvalue, at_least=0.01, what=what)
    what = f"squared gradient off the subspace: relative error of the law's mean, {over}"
    lab.measure("C1", abs(statistics.mean() / codim - 1), at_most=0.05, what=what)
    what = f"share of {over} whose gradient off the subspace exceeds the law's lower bound"
    lab.measure("C1", found["above"].mean(), at_least=0.95, what=what)
    what = f"weights off the subspace: largest relative error of the factor (1 - lr decay)^steps, {over}"
    lab.measure("C4", found["decay error"].max(), at_most=1e-6, what=what)
    caption = "Squared gradient off the subspace after training, scaled so that the law is chi-squared"
    lab.figure("law", draw_law(statistics, codim), caption=f"{caption} with {codim} degrees.")


def measure_flips(lab: Lab, found: Grid) -> None:
    """C2 to C4 on points of norm ten: each variant by itself and over the default."""
    default, own = found.at(variant="default"), "flip radius"
    what = "points of norm 10: median flip radius along the own gradient off the subspace"
    lab.measure("C2", default[own], at_most=5.0, what=what)
    what = "points of norm 10: radius at which one direction off the subspace has flipped all of them"
    lab.measure("C2", default["flip radius, one direction"], at_most=10.0, what=what)
    shrunk, what = (
        over_default(found, "small initialisation", "gradient"),
        "gradient off the subspace over the default's",
    )
    lab.measure("C3", shrunk, at_least=0.15, what=f"points, small initialisation: {what}, from below")
    lab.measure("C3", shrunk, at_most=0.25, what=f"points, small initialisation: {what}, from above")
    for variant, claim in REMEDIES.items():
        what = f"points, {variant}: median flip radius over the default's"
        lab.measure(claim, over_default(found, variant, own), at_least=3.0, what=what)
    for variant, claim in {"default": "C2", **REMEDIES}.items():
        values = found.at(variant=variant)["training accuracy"]
        lab.measure(claim, values, at_least=1.0, what=f"points, {variant}: training accuracy")
    caption = "Points: length of the gradient off the subspace and flip radii, median or farthest of the points"
    lab.table("points", found, caption=caption)
    caption = f"Distance at which decisions flip off the subspace, one dot a network; {FARTHEST:g} stands for none."
    lab.figure("radii", draw_radii(found), caption=caption)


def measure_images(lab: Lab, found: Grid) -> None:
    """C2 to C4 on images: how far the blank half must go, against the half that holds the image."""
    default, blank, held = found.at(variant="default"), "flip radius, blank half", "flip radius, image half"
    what = "images: median flip radius in the blank half over that in the image"
    lab.measure("C2", default[blank] / default[held], at_most=2.0, what=what)
    for variant, claim in REMEDIES.items():
        what = f"images, {variant}: median flip radius in the blank half over the default's"
        lab.measure(claim, over_default(found, variant, blank), at_least=2.0, what=what)
        lost = default["test accuracy"] - found.at(variant=variant)["test accuracy"]
        lab.measure(claim, lost, at_most=0.01, what=f"images, {variant}: test accuracy lost against the default")
    caption = "Images of norm 40 on average beside a blank half"
    lab.table("images", found, columns=("test accuracy", blank, held), caption=caption)
    first = next(iter(default))
    rows = {"image": first["before"], "attacked": first["after"]}
    caption = "Test images beside their blank half, and below them what the network takes for the other digit."
    lab.figure("flipped-images", image_rows(rows, limits=(-0.5, 1.0)), caption=caption)


def over_default(found: Grid, variant: str, key: str) -> np.ndarray:
    """Return an entry of a variant over that of the default, seed by seed."""
    return found.at(variant=variant)[key] / found.at(variant="default")[key]
