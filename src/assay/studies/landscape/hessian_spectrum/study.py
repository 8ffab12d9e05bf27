"""Empirical Analysis of the Hessian of Over-Parametrized Neural Networks (Sagun et al., 2017).

Networks of one hidden layer are trained on Gaussian blobs to the same loss, and the whole Hessian of each is split
into bulk and outliers: by width for fixed data, by data for fixed width. Then a network is trained on digits with the
whole set a step, goes on in small batches, and the loss is evaluated on the line between the two end points.

"Separation" is the distance between any two blobs' centres, in standard deviations of a blob. The straight line shows
that *continued* training stays in its basin. It does not show that independent runs do: between those the line has a
barrier, and only matching hidden units or a curve avoids it.

With five classes the networks have 165 to 645 parameters for 800 directions of curvature, N(c - 1): they are not
over-parametrised as the paper's are, and there the bulk grows with the width on average but not in every seed.
"""

import copy
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles
from sklearn.datasets import make_blobs
from torch import nn

from assay.core import NumericalError, cross_entropy, fit, seeded, spawn_seeds
from assay.data import load
from assay.lab import Lab, Paper, Study
from assay.landscape import gauss_newton_decomposition, gradient_covariance_alignment, hessian_spectrum, linear_path
from assay.nets import mlp


@dataclass(frozen=True)
class Settings:
    """What the experiment varies and how long it trains."""

    blob_seeds: int = 10
    samples: int = 200
    features: int = 10
    classes: tuple[int, ...] = (2, 3, 5)
    widths: tuple[int, ...] = (10, 20, 40)
    separation: float = 3.0
    low_separation: float = 1.5
    target_loss: float = 0.05
    steps: int = 50_000
    digit_seeds: int = 5
    digits: int = 1200
    large_batch_steps: int = 1500
    small_batch_steps: int = 8000
    small_batch: int = 16


STUDY = Study(
    slug="hessian-spectrum",
    paper=Paper(
        "Empirical Analysis of the Hessian of Over-Parametrized Neural Networks",
        "Sagun, Evci, Güney, Dauphin, Bottou",
        2017,
        arxiv="1706.04454",
    ),
    claims={
        "C1": "The Hessian's spectrum has two parts: a bulk near zero and outliers away from it",
        "C2": "With the data fixed, more parameters enlarge the bulk only; the outliers stay",
        "C3": "With the network fixed, changing the data changes the outliers",
        "C4": "The bottom of the landscape is flat because the Hessian is singular there, not a wide or narrow bowl",
        "C5": "The large eigenvalues are those of the covariance of the outputs' gradients",
        "C6": "Large-batch and small-batch training reach points of one connected basin",
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
    """Measure the claims: blobs first (C1 to C5), then the basin of digits (C6)."""
    seeds = spawn_seeds(lab.seed, settings.blob_seeds)
    middle = settings.widths[len(settings.widths) // 2]
    apart = list(product([settings], [settings.separation], settings.classes, settings.widths, seeds))
    close = list(product([settings], [settings.low_separation], settings.classes, [middle], seeds))
    nets = Nets(lab.map(blob_spectrum, apart, name="blobs"), len(settings.classes), len(settings.widths))
    closer = Nets(lab.map(blob_spectrum, close, name="blobs-closer"), len(settings.classes), 1)

    draw_spectra(lab, settings, nets)
    lab.table("blobs", summary(settings, nets), caption="Means over seeds, by classes and hidden units")
    measure_two_parts(lab, settings, nets)
    measure_width(lab, settings, nets)
    measure_data(lab, settings, nets, closer)
    measure_gauss_newton(lab, nets)

    seeds = spawn_seeds(lab.seed + 1, settings.digit_seeds)
    measure_basin(lab, lab.map(large_then_small, list(product([settings], seeds)), name="basins"))


def blob_spectrum(cell: tuple[Settings, float, int, int, int]) -> dict[str, Any]:
    """Train one network to the target loss and take its curvature apart."""
    settings, separation, classes, width, seed = cell
    # Centres on the axes are all the same distance apart.
    centres = separation / 2**0.5 * np.eye(classes, settings.features)
    points, labels = make_blobs(settings.samples, centers=centres, random_state=seed)[:2]
    x, y, target = torch.as_tensor(points), torch.as_tensor(labels), settings.target_loss
    model = mlp((settings.features, width, classes), generator=seeded(seed)).double()
    at_start = gradient_covariance_alignment(model, x, y, loss=cross_entropy)
    sgd = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    trained = fit(
        model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.steps, stop=lambda step: step.loss <= target
    )
    if trained.loss > target:
        raise NumericalError(f"training stopped at loss {trained.loss:.3g}: spectra compare at equal loss only")

    report = hessian_spectrum(model, x, y, loss=cross_entropy)
    parts = gauss_newton_decomposition(model, x, y, loss=cross_entropy)
    hessian_values, hessian_vectors = torch.linalg.eigh(parts.hessian)
    newton_values, newton_vectors = torch.linalg.eigh(parts.gauss_newton)
    angles = subspace_angles(hessian_vectors[:, -classes:].numpy(), newton_vectors[:, -classes:].numpy())
    return {
        "eigenvalues": report.eigenvalues.tolist(),
        "steps": trained.steps,
        "parameters": report.n_parameters,
        "bulk_fraction": report.bulk_fraction,
        "outliers": report.n_outliers,
        "gap_index": report.gap_index,
        "lambda_max": report.lambda_max,
        "negativity": -report.lambda_min / report.lambda_max,
        "median": report.eigenvalues.abs().median().item() / report.lambda_max,
        "newton_error": (newton_values[-3:] / hessian_values[-3:] - 1).abs().max().item(),
        "newton_angle": float(np.rad2deg(angles.max())),
        "overlap": gradient_covariance_alignment(model, x, y, loss=cross_entropy).overlap,
        "overlap_at_start": at_start.overlap,
    }


class Nets:
    """What the cells measured, as arrays of shape (classes, widths, seeds)."""

    def __init__(self, cells: list[dict[str, Any]], n_classes: int, n_widths: int) -> None:
        self.cells = np.array(cells, dtype=object).reshape(n_classes, n_widths, -1)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.vectorize(lambda cell: float(cell[name]))(self.cells)


def measure_two_parts(lab: Lab, settings: Settings, nets: Nets) -> None:
    """C1, on the widest networks; the two bars are ours, the paper shows plots."""
    widest = settings.widths[-1]
    share = (nets["outliers"] / nets["parameters"])[:, -1].max(0)
    lab.measure("C1", share, at_most=0.1, what=f"share of outliers among the eigenvalues, {widest} units, worst data")
    median = nets["median"][:, -1].max(0)
    lab.measure("C1", median, at_most=0.01, what=f"median |eigenvalue| / largest, {widest} units, worst data")


def measure_width(lab: Lab, settings: Settings, nets: Nets) -> None:
    """C2 for each number of classes, and C4."""
    growth = np.diff(nets["bulk_fraction"], axis=1).min(1)
    drift = np.ptp(nets["outliers"], axis=1)
    steps = " to ".join(map(str, settings.widths))
    for index, classes in enumerate(settings.classes):
        data = f"{classes} classes, {steps} units"
        lab.measure("C2", growth[index], at_least=0.0, what=f"smallest step of the bulk's fraction, {data}")
        lab.measure("C2", drift[index], at_most=3, what=f"change of the number of outliers, {data}")
    lab.measure("C4", nets["negativity"].max((0, 1)), at_most=0.1, what="-smallest / largest eigenvalue, worst network")
    bulk = nets["bulk_fraction"][:, -1].mean(0)
    lab.measure("C4", bulk, what=f"fraction of directions that are flat, {settings.widths[-1]} units, mean over data")


def measure_data(lab: Lab, settings: Settings, nets: Nets, closer: Nets) -> None:
    """C3: more classes, and classes closer together, in the network of middle width."""
    middle = len(settings.widths) // 2
    width = settings.widths[middle]
    more = np.diff(nets["outliers"][:, middle], axis=0).min(0)
    lab.measure("C3", more, at_least=1, what=f"smallest step of the number of outliers over classes, {width} units")
    moved = abs(closer["bulk_fraction"][:, 0] - nets["bulk_fraction"][:, middle])
    widened = nets["bulk_fraction"][:, -1] - nets["bulk_fraction"][:, 0]
    for index, classes in enumerate(settings.classes):
        data = f"{classes} classes, separation {settings.separation:g} to {settings.low_separation:g}"
        larger = closer["lambda_max"][index, 0] / nets["lambda_max"][index, middle]
        more = closer["outliers"][index, 0] / nets["outliers"][index, middle]
        lab.measure("C3", np.maximum(larger, more), at_least=1, what=f"growth of the top or of the count, {data}")
        excess = moved[index] - widened[index]
        lab.measure("C3", excess, at_most=0.0, what=f"bulk's change with the data less that with the width, {data}")


def measure_gauss_newton(lab: Lab, nets: Nets) -> None:
    """C5: the Hessian's top against that of the covariance of output gradients, G."""
    lab.measure("C5", nets["newton_error"].max((0, 1)), at_most=0.03, what="relative error of G's top 3, worst network")
    angle = nets["newton_angle"].max((0, 1))
    lab.measure("C5", angle, at_most=10.0, what="largest angle of the top subspaces (one dimension a class), degrees")
    # The paper's loss-gradient covariance weighs samples by their squared residual, so it is no copy of G.
    for name, when in (("overlap_at_start", "at initialisation"), ("overlap", "at the target loss")):
        lab.measure("C5", nets[name].mean((0, 1)), what=f"overlap of the loss gradients' covariance with G, {when}")


def large_then_small(cell: tuple[Settings, int]) -> dict[str, Any]:
    """Train with all data a step, go on in small batches, and walk the lines between the end points."""
    settings, seed = cell
    digits = load("digits")
    x, y = digits.x_train[: settings.digits].flatten(1), digits.y_train[: settings.digits]
    sgd = partial(torch.optim.SGD, lr=0.1)

    def go_on(start: nn.Module, order: int) -> nn.Module:
        model = copy.deepcopy(start)
        draws = {"batch_size": settings.small_batch, "generator": seeded(order)}
        fit(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.small_batch_steps, **draws)
        return model

    large = mlp((64, 64, 10), generator=seeded(seed))
    fit(large, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.large_batch_steps)
    small, other = go_on(large, seed), go_on(large, seed + 1)
    independent = go_on(mlp((64, 64, 10), generator=seeded(seed + 2)), seed + 2)
    walk = partial(linear_path, x=x, y=y, loss=cross_entropy)
    lines = {
        "large to small batch": walk(large, small),
        "two batch orders": walk(small, other),
        "two networks": walk(small, independent),
    }
    return {name: {"losses": line.losses.tolist(), "distance": line.distance} for name, line in lines.items()}


def measure_basin(lab: Lab, cells: list[dict[str, Any]]) -> None:
    """C6: the line between a large-batch point and its small-batch continuation, and a control that has a barrier."""
    lines = {name: np.array([cell[name]["losses"] for cell in cells]) for name in cells[0]}
    draw_lines(lab, lines)
    rows = []
    for name, losses in lines.items():
        shown = {"loss at start": losses[:, 0], "highest loss": losses.max(1), "loss at end": losses[:, -1]}
        shown["distance"] = np.array([cell[name]["distance"] for cell in cells])
        rows.append({"line": name} | {key: float(f"{value.mean():.4g}") for key, value in shown.items()})
    lab.table("basins", rows, caption="Lines between solutions on digits, means over seeds")
    rise = np.diff(lines["large to small batch"], axis=1).max(1)
    lab.measure("C6", rise, at_most=0.0, what="largest rise of the loss on the line from large to small batch")
    peak = peaks(lines["two networks"])
    lab.measure("C6", peak, at_least=3.0, what="control: peak over the worse end, line to an independent solution")
    lab.measure("C6", peaks(lines["two batch orders"]), what="peak over the worse end, two orders of small batches")


def peaks(losses: np.ndarray) -> np.ndarray:
    """Return the highest loss on each line over that at its worse end."""
    return losses.max(1) / losses[:, [0, -1]].max(1)


def summary(settings: Settings, nets: Nets) -> list[dict[str, float]]:
    """Return one row for each number of classes and units."""
    names = ("parameters", "steps", "bulk_fraction", "outliers", "gap_index", "lambda_max", "newton_error")
    means = {name.replace("_", " "): nets[name].mean(2) for name in names}
    return [
        {"classes": classes, "units": width} | {name: float(f"{mean[i, j]:.4g}") for name, mean in means.items()}
        for i, classes in enumerate(settings.classes)
        for j, width in enumerate(settings.widths)
    ]


def draw_spectra(lab: Lab, settings: Settings, nets: Nets) -> None:
    """Draw ranked eigenvalues of the first seed: by width for fixed data, then by data for fixed width."""
    i, j = len(settings.classes) // 2, len(settings.widths) // 2
    by_width = {f"{width} units": nets.cells[i, k, 0] for k, width in enumerate(settings.widths)}
    caption = f"Ranked Hessian eigenvalues for {settings.classes[i]} classes: wider networks add to the bulk only."
    lab.figure("spectrum-by-width", ranked(by_width), caption=caption)
    by_data = {f"{classes} classes": nets.cells[k, j, 0] for k, classes in enumerate(settings.classes)}
    caption = f"Ranked Hessian eigenvalues with {settings.widths[j]} units: more classes bring more outliers."
    lab.figure("spectrum-by-classes", ranked(by_data), caption=caption)


def ranked(cells: dict[str, dict[str, Any]]) -> Figure:
    """Draw |eigenvalue| over the largest against rank, both logarithmic."""
    figure, axes = plt.subplots()
    for label, cell in cells.items():
        values = np.array(cell["eigenvalues"])
        sizes = np.sort(abs(values) / values.max())[::-1].clip(1e-9)
        axes.loglog(np.arange(1, len(sizes) + 1), sizes, label=label)
    for level, text in ((0.1, "outliers above"), (1e-3, "bulk below")):
        axes.axhline(level, color="0.5", linewidth=0.8, linestyle="--")
        axes.text(1, level * 0.5, text, fontsize="small", color="0.5")
    axes.set_xlabel("rank")
    axes.set_ylabel("|eigenvalue| / largest")
    axes.legend()
    return figure


def draw_lines(lab: Lab, lines: dict[str, np.ndarray]) -> None:
    """Draw the loss on the lines, one curve a seed."""
    figure, axes = plt.subplots()
    for colour, (name, losses) in enumerate(lines.items()):
        axes.semilogy(
            np.linspace(0, 1, losses.shape[1]), losses.T, color=f"C{colour}", label=[name, *[None] * (len(losses) - 1)]
        )
    axes.set_xlabel("position on the line")
    axes.set_ylabel("training loss")
    axes.legend()
    caption = "Loss on straight lines: large to small batch, two small-batch orders, and two independent networks."
    lab.figure("lines-between-solutions", figure, caption=caption)
