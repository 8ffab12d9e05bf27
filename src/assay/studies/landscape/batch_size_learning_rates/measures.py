"""Evidence of the study of learning rates by batch size: what is measured against which bar."""

import numpy as np

from assay.lab import Grid, Lab
from assay.studies.landscape.batch_size_learning_rates.settings import Settings

SMALL = 32  # batches up to this size, where noise makes most of the curvature
CLEAR = 64  # batches up to this size should lie above the full matrix
STEADY = (16, 256)  # between these the excess times b should be constant
MATRICES = {"hessian": "Hessian", "gauss_newton": "Gauss-Newton matrix"}


def measure_matrices(lab: Lab, spiked: Grid, covariances: Grid, settings: Settings) -> None:
    """C1 and C2 on random matrices."""
    where = f"mean of {settings.draws} symmetric Gaussian matrices of {settings.size} rows, worst effective batch size"
    for end in ("largest", "smallest"):
        what = f"relative error of the formula for the {end} eigenvalue, {where}"
        lab.measure("C1", spiked[end], at_most=0.02, what=what)
    what = f"relative error of the formula for a hidden spike at 1 and b = 200, {where}"
    lab.measure("C1", spiked["hidden"], at_most=0.02, what=what)
    where = f"mean of {settings.draws} sample covariances of {settings.size} features, worst ratio"
    for side, spike in (("above", "10"), ("below", "1.2")):
        what = f"relative error of the formula for a population eigenvalue of {spike} over a bulk at 1, {where}"
        lab.measure("C2", covariances[side].max(0), at_most=0.03, what=what)


def measure_inflation(lab: Lab, claim: str, matrix: str, found: Grid, settings: Settings) -> None:
    """C1 and C2 on the network: monotone, above the full matrix, and in proportion to 1/b."""
    sizes, n = settings.curvature_batches, settings.batches
    clear = [place for place, size in enumerate(sizes) if size <= CLEAR]
    growth = np.diff(found["mean"], axis=0).max(0)
    what = (
        f"largest change of the {matrix}'s mean largest eigenvalue from one batch size to the next larger one, digits"
    )
    lab.measure(claim, growth, at_most=0.0, what=what)
    what = f"batches of up to {CLEAR} digits whose {matrix} has a larger top eigenvalue than that of all samples"
    lab.measure(claim, found["above"][clear].sum(0), of=n * len(clear), at_least=0.95, what=what)
    if matrix == "Hessian":
        what = (
            f"batches of up to {CLEAR} digits whose {matrix} has a smaller lowest eigenvalue than that of all samples"
        )
        lab.measure(claim, found["below"][clear].sum(0), of=n * len(clear), at_least=0.95, what=what)
    steady = [place for place, size in enumerate(sizes) if STEADY[0] <= size <= STEADY[1]]
    scaled = found["excess times b"][steady].clip(1e-9)
    what = f"excess of the {matrix}'s top eigenvalue times b, largest over smallest, batches of 16 to 256 digits"
    lab.measure(claim, scaled.max(0) / scaled.min(0), at_most=2.5, what=what)
    ratio = scaled / scaled[sizes.index(settings.fitted) - steady[0]]
    what = f"excess of the {matrix}'s top eigenvalue over that of the fit at batches of {settings.fitted}, or its "
    what += "inverse, worst of batches of 16 to 256 digits"
    lab.measure(claim, np.maximum(ratio, 1 / ratio).max(0), at_most=2.5, what=what)
    middle = sizes.index(settings.fitted)
    share = found["iid excess"][middle] / found["excess"][middle].clip(1e-9)
    what = (
        f"excess that independent noise predicts over the measured one, {matrix}, batches of {settings.fitted} digits"
    )
    lab.measure(claim, share, what=what)


def slopes(log_rates: np.ndarray, sizes: tuple[int, ...], *, above: bool = False) -> np.ndarray:
    """Return the slope of log2 rate in log2 batch size for each seed, up to `SMALL` or from it on."""
    kept = [place for place, size in enumerate(sizes) if (size >= SMALL if above else size <= SMALL)]
    return np.polyfit(np.log2([sizes[place] for place in kept]), log_rates[kept], 1)[0]


def measure_sgd(lab: Lab, rates: Grid, predicted: Grid, settings: Settings) -> None:
    """C3: the slope, the plateau, and the predictions."""
    sizes, stable = settings.rate_batches, rates["stable"]
    found = slopes(stable, sizes)
    lab.measure(
        "C3", found, at_least=0.8, what=f"slope of log rate in log batch size, SGD on digits, batches to {SMALL}"
    )
    what = f"slope of log rate in log batch size against its upper bar, SGD on digits, batches to {SMALL}"
    lab.measure("C3", found, at_most=1.5, what=what)
    low, high = (sizes.index(size) for size in settings.plateau)
    what = "change in log2 of the largest stable rate of SGD on digits, batches of {} to {}".format(*settings.plateau)
    lab.measure("C3", stable[high] - stable[low], at_most=0.6, what=what)
    lower = rates["lower"]
    what = "slope of log rate in log batch size where the loss at the end alone counts, SGD on digits, batches to 32"
    lab.measure("C3", slopes(lower, sizes), what=what)
    what = "change in log2 of SGD's largest rate where the end alone counts, digits, batches of {} to {}"
    lab.measure("C3", lower[high] - lower[low], what=what.format(*settings.plateau))
    for kind, name in (("fit", "one-parameter fit"), ("iid", "formula for independent noise")):
        log_rates = predicted[kind].T
        what = f"slope that the {name} predicts for SGD from batches of {settings.fitted} digits, batches to {SMALL}"
        lab.measure("C3", slopes(log_rates, sizes), what=what)
        # How far a rate that was tuned at the largest batch is off at each other one, once it is moved by the rule.
        errors = (stable - stable[high]) - (log_rates - log_rates[high])
        what = f"worst error in log2 of a rate moved by the {name} from batches of {sizes[high]} to smaller ones, SGD"
        lab.measure("C3", abs(errors).max(0), what=what)
    linear = np.log2(np.array(sizes) / sizes[high])[:, None]
    what = f"worst error in log2 of a rate moved in proportion from batches of {sizes[high]} to smaller ones, SGD"
    lab.measure("C3", abs((stable - stable[high]) - linear).max(0), what=what)


def measure_adam(lab: Lab, rates: Grid, damped: Grid, settings: Settings) -> None:
    """C4: the slope, and how it differs from SGD's; also with a large damping."""
    sizes, stable = settings.rate_batches, rates.at(optimizer="Adam")["stable"]
    found = slopes(stable, sizes)
    lab.measure(
        "C4", found, at_least=0.35, what=f"slope of log rate in log batch size, Adam on digits, batches to {SMALL}"
    )
    what = f"slope of log rate in log batch size against its upper bar, Adam on digits, batches to {SMALL}"
    lab.measure("C4", found, at_most=0.8, what=what)
    sgd = slopes(rates.at(optimizer="SGD")["stable"], sizes)
    what = f"slope of SGD less that of Adam, log rate in log batch size, digits, batches to {SMALL}"
    lab.measure("C4", sgd - found, at_least=0.3, what=what)
    what = f"slope of log rate in log batch size, Adam on digits, batches from {SMALL} on"
    lab.measure("C4", slopes(stable, sizes, above=True), what=what)
    lower = slopes(rates.at(optimizer="Adam")["lower"], sizes)
    what = f"slope of log rate in log batch size where the end alone counts, Adam on digits, batches to {SMALL}"
    lab.measure("C4", lower, what=what)
    some = damped.at(optimizer="Adam, damping 1")
    what = f"slope of log rate in log batch size, Adam with a damping of 1 on digits, batches to {SMALL}"
    lab.measure("C4", slopes(some["stable"], some.factors["batch"]), what=what)


def measure_images(lab: Lab, images: Grid) -> None:
    """C5 cannot be tested here; a small convolutional network is reported."""
    reason = "The paper's networks on CIFAR-100 and ImageNet take days on a GPU."
    what = "slope of the largest stable rate in the batch size, VGG-16 and WideResNet-28x10 on CIFAR-100"
    lab.measure("C5", untested=reason, what=what, at_least=0.8)
    for batch, found in images.by("batch").items():
        what = f"mean largest Hessian eigenvalue on batches of {batch} over that of all samples, CNN on Fashion-MNIST"
        lab.measure("C5", found["mean"] / found["full"], what=what)


def measure_learner(lab: Lab, quadratics: Grid, learnt: Grid, settings: Settings) -> None:
    """C6 on a quadratic and on digits."""
    where = "quadratic of 100 parameters and condition 100"
    for name in ("rate", "momentum"):
        what = f"relative error of the learner's {name} against Polyak's, {where}"
        lab.measure("C6", quadratics[name], at_most=0.02, what=what)
    what = f"steps with the learner's rate and momentum over those with Polyak's, to 1e-6 of the start, {where}"
    lab.measure("C6", quadratics["steps"], at_most=1.1, what=what)
    what = (
        "steps of the learner to the loss of the best of five rates with momentum 0.9, digits, over the "
        f"{settings.learner_steps} that it took; 2 where it is not reached"
    )
    lab.measure("C6", learnt["steps"], at_most=1.5, what=what)
    what = "training loss of the learner over that of the best of five rates with momentum 0.9, after as many steps"
    lab.measure("C6", learnt["loss at as many steps"] / learnt["target"], what=what)
    what = "gradients that the learner's Lanczos products cost a step, at two each"
    lab.measure("C6", 2 * 15 / settings.every, what=what)
