"""Empirical Analysis of the Hessian of Over-Parametrized Neural Networks (Sagun et al., 2017).

Networks of one hidden layer are trained on Gaussian blobs to the same loss, and the whole Hessian of each is split
into bulk and outliers: by width for fixed data, by data for fixed width. Then a network is trained on digits with the
whole set a step, goes on in small batches, and the loss is evaluated on the line between the two solutions.

With five classes the networks have 165 to 645 parameters for 800 directions of curvature, N(c - 1), so these are not
over-parametrised as the paper's are. The straight line shows that *continued* training stays in its basin, not that
independent runs share one: between those the line has a barrier, and only matching hidden units or a curve avoids it.
"""

from dataclasses import replace

import numpy as np

from assay.core import spawn_seeds
from assay.lab import Claim, Grid, Lab, Paper, Study, plots
from assay.studies.landscape.hessian_spectrum.cells import LINES, curvature, large_then_small
from assay.studies.landscape.hessian_spectrum.figures import draw_spectra
from assay.studies.landscape.hessian_spectrum.settings import Settings

ABSTRACT = "abstract, states no number"

STUDY = Study(
    slug="hessian-spectrum",
    paper=Paper(
        "Empirical Analysis of the Hessian of Over-Parametrized Neural Networks",
        "Sagun, Evci, Güney, Dauphin, Bottou",
        2017,
        arxiv="1706.04454",
    ),
    methods=(
        "landscape.hessian_spectrum",
        "landscape.gauss_newton_decomposition",
        "landscape.gradient_covariance_alignment",
        "landscape.linear_path",
    ),
    claims={
        "C1": Claim("The Hessian's spectrum has two parts: a bulk near zero and outliers away from it", paper=ABSTRACT),
        "C2": Claim("With the data fixed, more parameters enlarge the bulk only; the outliers stay", paper=ABSTRACT),
        "C3": Claim("With the network fixed, changing the data changes the outliers", paper=ABSTRACT),
        "C4": Claim("The bottom of the landscape is flat: the Hessian there is singular", paper=ABSTRACT),
        "C5": Claim("The large eigenvalues are linked to the covariance of the outputs' gradients", paper=ABSTRACT),
        "C6": Claim("Large-batch and small-batch training reach points of one connected basin", paper=ABSTRACT),
    },
    scales={
        "smoke": Settings(
            2, 40, classes=(2, 3), widths=(4, 16), digit_seeds=2, large_batch_steps=150, small_batch_steps=200
        ),
        "small": Settings(),
        "paper": Settings(20, 1000, classes=(2, 3, 5, 7, 10), widths=(10, 20, 40, 80, 160), digit_seeds=20),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure curvature on blobs first (C1 to C5), then the loss on lines between solutions on digits (C6)."""
    classes, widths, middle, seeds = settings.classes, settings.widths, settings.middle_width, settings.blob_seeds
    nets = lab.grid(curvature, settings, name="blobs", classes=classes, width=widths, seed=seeds)
    overlapping = replace(settings, separation=settings.low_separation)
    closer = lab.grid(curvature, overlapping, name="blobs-closer", classes=classes, width=(middle,), seed=seeds)
    measure_two_parts(lab, nets.at(width=widths[-1]), widths[-1])
    measure_width(lab, settings, nets)
    measure_data(lab, settings, nets, closer.at(width=middle))
    measure_gauss_newton(lab, nets)
    lab.table("blobs", nets, columns=COLUMNS, caption="Networks on blobs by classes and hidden units")

    some = classes[len(classes) // 2]
    caption = f"Ranked Hessian eigenvalues for {some} classes, by width"
    lab.figure("spectrum-by-width", draw_spectra(nets.at(classes=some).by("width"), "units"), caption=caption)
    caption = f"Ranked Hessian eigenvalues with {middle} hidden units, by number of classes"
    lab.figure("spectrum-by-classes", draw_spectra(nets.at(width=middle).by("classes"), "classes"), caption=caption)

    basins = lab.grid(large_then_small, settings, name="basins", seed=spawn_seeds(lab.seed + 1, settings.digit_seeds))
    measure_basin(lab, Grid({"line": LINES, **basins.factors}, tuple(cell[name] for name in LINES for cell in basins)))


COLUMNS = (
    *("parameters", "steps", "bulk fraction", "outliers", "gap index", "largest"),
    *("Gauss-Newton error", "overlap at start", "overlap at end"),
)


def measure_two_parts(lab: Lab, widest: Grid, width: int) -> None:
    """C1, on the widest networks; the two bars are ours, the paper shows plots."""
    where = f"networks of {width} hidden units, worst number of classes"
    share = (widest["outliers"] / widest["parameters"]).max(0)
    lab.measure("C1", share, at_most=0.1, what=f"outliers as a share of the Hessian's eigenvalues, {where}")
    median = widest["median"].max(0)
    lab.measure("C1", median, at_most=0.01, what=f"median |eigenvalue| of the Hessian over the largest, {where}")


def measure_width(lab: Lab, settings: Settings, nets: Grid) -> None:
    """C2 for each number of classes, and C4."""
    widths = " to ".join(map(str, settings.widths))
    for classes, found in nets.by("classes").items():
        data = f"{classes} classes, {widths} hidden units"
        growth, drift = np.diff(found["bulk fraction"], axis=0).min(0), np.ptp(found["outliers"], axis=0)
        lab.measure("C2", growth, at_least=0.0, what=f"smallest growth of the bulk fraction with width, {data}")
        lab.measure("C2", drift, at_most=3, what=f"number of outliers, most minus fewest over widths, {data}")
    what = "negated smallest over largest eigenvalue of the Hessian at the target loss, worst network"
    lab.measure("C4", nets["negativity"].max((0, 1)), at_most=0.1, what=what)


def measure_data(lab: Lab, settings: Settings, nets: Grid, closer: Grid) -> None:
    """C3: more classes, and classes closer together, in the network of middle width."""
    middle = nets.at(width=settings.middle_width)
    more = np.diff(middle["outliers"], axis=0).min(0)
    what = f"smallest growth of the number of outliers with that of classes, {settings.middle_width} hidden units"
    lab.measure("C3", more, at_least=1, what=what)
    ratio = np.maximum(*(closer[name] / middle[name] for name in ("largest", "outliers")))
    moved = abs(closer["bulk fraction"] - middle["bulk fraction"])
    widened = nets["bulk fraction"][:, -1] - nets["bulk fraction"][:, 0]
    for index, classes in enumerate(settings.classes):
        data = f"{classes} classes, separation {settings.low_separation:g} against {settings.separation:g}"
        what = f"ratio of the largest eigenvalues or of the numbers of outliers, the larger one, {data}"
        lab.measure("C3", ratio[index], at_least=1, what=what)
        what = f"change of the bulk fraction with the data minus that with the width, {data}"
        lab.measure("C3", moved[index] - widened[index], at_most=0.0, what=what)


def measure_gauss_newton(lab: Lab, nets: Grid) -> None:
    """C5: the top of the Hessian against that of the Gauss-Newton matrix, the covariance of output gradients.

    The covariance of loss gradients weighs samples by their squared residual: the table has its overlap with the
    Gauss-Newton matrix.
    """
    what = "relative error of the Gauss-Newton matrix's top 3 eigenvalues against the Hessian's, worst network"
    lab.measure("C5", nets["Gauss-Newton error"].max((0, 1)), at_most=0.03, what=what)
    what = "angle in degrees of the top subspaces of Hessian and Gauss-Newton matrix (a dimension a class), worst one"
    lab.measure("C5", nets["Gauss-Newton angle"].max((0, 1)), at_most=10.0, what=what)


def measure_basin(lab: Lab, lines: Grid) -> None:
    """C6: the line between a large-batch point and its small-batch continuation, and a control that has a barrier."""
    rise = lines.at(line="large to small batch")["largest rise"]
    what = "largest rise of the loss on the line from the large-batch solution to its small-batch continuation"
    lab.measure("C6", rise, at_most=0.0, what=what)
    peak = lines.at(line="two networks")["peak over worse end"]
    what = "control: highest loss over that at the worse end, on the line between two independent solutions"
    lab.measure("C6", peak, at_least=3.0, what=what)
    columns = ("loss at start", "highest loss", "loss at end", "peak over worse end", "distance")
    lab.table("basins", lines, columns=columns, caption="Training loss on straight lines between solutions on digits")
    losses = {name: found["losses"] for name, found in lines.by("line").items()}
    position = np.linspace(0, 1, losses[LINES[0]].shape[1])
    figure = plots.curves(
        position, losses, xlabel="position on the line", ylabel="training loss", log="y", band="seeds"
    )
    caption = "Training loss on straight lines between solutions on digits, one curve a seed"
    lab.figure("lines-between-solutions", figure, caption=caption)
