"""Learning Rates as a Function of Batch Size: A Random Matrix Theory Approach (Granziol, Zohren, Roberts, 2022).

A batch's Hessian has larger extreme eigenvalues than that of all samples, the more so the smaller the batch; the
largest stable learning rate follows. The two formulas are compared with random matrices, as means of ten draws, since
one draw fluctuates by about a percent. A tanh network on standardised digits, warmed up to one loss by Adam on all
samples, then gives the curvature of batches, and the largest rate that 150 further steps survive: all rates train at
once on the same batches, and the rate that half of the runs survive is estimated on a grid of half octaves.

Set in development, before the recorded run: a run counts as stable where it ends below its loss at the start and never
had more than twice that. The end alone counts runs that jump far away into another region and recover, and found no
plateau of SGD at large batches; it is reported beside. The learner takes a quarter of Polyak's rate, which is for a
quadratic, with the Ritz values of weight above 1e-6, on batches of 256; on batches of 64 it was not stable.

Of the paper only the abstract was read, so that no number of its is beside ours.
"""

import numpy as np

from assay.lab import Claim, Grid, Lab, Looks, Paper, Study
from assay.studies.landscape.batch_size_learning_rates.cells import (
    additive,
    ceiling,
    convolutional,
    covariance,
    inflation,
    learner,
    predictions,
    quadratic,
)
from assay.studies.landscape.batch_size_learning_rates.figures import draw_ceilings, draw_inflation, draw_learner
from assay.studies.landscape.batch_size_learning_rates.settings import Settings

ABSTRACT = "abstract, states no number"
SMALL = 32  # batches up to this size, where noise makes most of the curvature
CLEAR = 64  # batches up to this size should lie above the full matrix
STEADY = (16, 256)  # between these the excess times b should be constant
MATRICES = {"hessian": "Hessian", "gauss_newton": "Gauss-Newton matrix"}

STUDY = Study(
    slug="batch-size-learning-rates",
    paper=Paper(
        "Learning Rates as a Function of Batch Size: A Random Matrix Theory Approach to Neural Network Training",
        "Granziol, Zohren, Roberts",
        2022,
        arxiv="2006.09092",
        venue="JMLR",
    ),
    methods=(
        "landscape.batch_hessian_extremes",
        "landscape.learning_rates.batch_gauss_newton_extremes",
        "landscape.estimate_hessian_noise",
        "landscape.max_learning_rate",
        "landscape.scale_learning_rate",
        "landscape.LanczosLR",
    ),
    claims={
        "C1": Claim(
            "Extreme eigenvalues of a batch's Hessian are larger in magnitude than the full Hessian's, as in the "
            "spiked model (means of ten random matrices)",
            paper=ABSTRACT,
        ),
        "C2": Claim(
            "The largest eigenvalue of a batch's Gauss-Newton matrix is larger too (means of ten random matrices)",
            paper=ABSTRACT,
        ),
        "C3": Claim(
            "The largest stable learning rate of SGD grows linearly with the batch size, up to a plateau",
            paper=ABSTRACT,
        ),
        "C4": Claim("That of Adam grows as the square root of the batch size, slower than SGD's", paper=ABSTRACT),
        "C5": Claim("This holds for VGG and WideResNet on CIFAR-100 and ImageNet", paper=ABSTRACT),
        "C6": Claim(
            "Lanczos runs on batch Hessians set rate and momentum without repeated training (a quarter of Polyak's "
            "rate, Ritz values of weight above 1e-6)",
            paper="abstract, states good preliminary results and no number",
        ),
    },
    scales={
        "smoke": Settings(
            2,
            size=200,
            draws=2,
            matrix_batches=(50, 1000),
            ratios=(1.0,),
            loss=1.5,
            curvature_batches=(16, 64, 256),
            batches=3,
            rate_batches=(2, 32, 128),
            plateau=(32, 128),
            n_iter=20,
            orders=1,
            learner_batch=64,
            learner_steps=20,
            images=100,
            image_seeds=1,
            image_epochs=1,
        ),
        "small": Settings(Looks((5, 8))),
        "paper": Settings(Looks((10, 20)), batches=50, orders=8, images=2000, image_seeds=5),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure random matrices first, then the curvature of batches, largest rates, and the learner."""
    seeds = settings.seeds
    spiked = lab.grid(additive, settings, seed=seeds)
    covariances = lab.grid(covariance, settings, ratio=settings.ratios, seed=seeds)
    sizes = settings.curvature_batches
    found = lab.grid(inflation, settings, matrix=tuple(MATRICES), batch=sizes, seed=seeds)
    rates = lab.grid(ceiling, settings, optimizer=("SGD", "Adam"), batch=settings.rate_batches, seed=seeds)
    small = tuple(size for size in settings.rate_batches if size <= SMALL)
    damped = lab.grid(ceiling, settings, name="damped", optimizer=("Adam, damping 1",), batch=small, seed=seeds)
    predicted = lab.grid(predictions, settings, seed=seeds)
    quadratics = lab.grid(quadratic, settings, seed=seeds)
    learnt = lab.grid(learner, settings, seed=seeds)
    images = lab.grid(convolutional, settings, batch=(16, 64), seed=settings.image_seeds)
    measure_matrices(lab, spiked, covariances, settings)
    for claim, matrix in (("C1", "hessian"), ("C2", "gauss_newton")):
        measure_inflation(lab, claim, MATRICES[matrix], found.at(matrix=matrix), settings)
    measure_sgd(lab, rates.at(optimizer="SGD"), predicted, settings)
    measure_adam(lab, rates, damped, settings)
    measure_images(lab, images)
    measure_learner(lab, quadratics, learnt, settings)
    columns = ("full", "mean", "iid excess", "excess", "excess times b", "smallest", "mean smallest")
    lab.table("inflation", found, columns=columns, caption="Extreme eigenvalues by matrix and batch size")
    lab.table("rates", rates, columns=("stable", "lower"), caption="log2 of the largest learning rate")
    columns = ("full", "mean", "excess", "iid excess", "training loss")
    lab.table("images", images, columns=columns, caption="Hessian of a convolutional network on Fashion-MNIST")
    columns = ("steps", "best rate", "target", "loss at as many steps")
    lab.table("learner", learnt, columns=columns, caption="Steps of the learner over those of the best hand-tuned rate")
    caption = "Largest learning rate at which training is stable, by batch size, and the two predictions for SGD"
    lab.figure("ceilings", draw_ceilings(rates, damped, predicted, settings.rate_batches), caption=caption)
    caption = "Largest eigenvalue on batches over that on all samples, and what noise with independent entries gives"
    lab.figure("inflation", draw_inflation(found), caption=caption)
    caption = "Training loss of the learner and of SGD with momentum 0.9 at the best of five rates"
    lab.figure("learner", draw_learner(learnt, settings.learner_steps), caption=caption)


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
