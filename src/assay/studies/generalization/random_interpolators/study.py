"""How Uniform Random Weights Induce Non-uniform Bias (Buzaglo, Harel et al., 2024).

A network whose weights are drawn uniformly until it fits the training set generalises as well as the narrowest teacher
that has the labels, because many weights express simple functions. On nine points with weights in {-1, 0, 1} the prior
over functions is enumerated, so that the teacher's probability, the law of guess and check and its risk are exact. On
the cube {-1, 1}^7 such networks are compared with networks of the same shape that Adam trained to fit the same points;
their teacher is the majority of the first three inputs, relu(x1 + x2 + x3).

C4 is undecided with ten seeds: networks of 2 and 8 hidden units err on about 0.11 more of the unseen points than
Adam's, close to the bar of 0.10. Nothing else was tried: more seeds, planned after this look, would not be a test.
"""

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.generalization.random_interpolators.cells import (
    DELTA,
    exact_prior,
    exact_risk,
    exceedances,
    random_against_trained,
    sampler_law,
)
from assay.studies.generalization.random_interpolators.figures import draw_priors, draw_risk
from assay.studies.generalization.random_interpolators.settings import Settings

STUDY = Study(
    slug="random-interpolators",
    paper=Paper(
        "How Uniform Random Weights Induce Non-uniform Bias: "
        "Typical Interpolating Neural Networks Generalize with Narrow Teachers",
        "Buzaglo, Harel, Nacson, Brutzkus, Srebro, Soudry",
        2024,
        arxiv="2402.06323",
        venue="ICML 2024",
    ),
    methods=(
        "generalization.QuantizedMLP",
        "generalization.guess_and_check",
        "generalization.enumerate_functions",
        "generalization.sample_complexity_bound",
        "generalization.teacher_complexity",
    ),
    claims={
        "C1": Claim(
            "A random network that fits the training set typically generalises, if a narrow teacher has the labels",
            paper="main theorem, states no measured number",
        ),
        "C2": Claim(
            "A flat prior over weights is a non-uniform prior over functions, in favour of simple ones",
            paper="abstract, states no number",
        ),
        "C3": Claim(
            "The sample complexity is that of the teacher, and hardly depends on the student's weights",
            paper="bounds on the effective sample complexity, state no measured number",
        ),
        "C4": Claim(
            "Random networks that fit generalise about as well as trained ones", paper="introduction, states no number"
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            widths=(1, 2),
            sizes=(4, 16),
            sets=100,
            trials=100,
            posterior_draws=2000,
            cube_seeds=2,
            cube_widths=(2, 8),
            cube_points=8,
            max_guesses=100_000,
        ),
        "small": Settings(),
        "paper": Settings(seeds=20, cube_seeds=30, cube_widths=(2, 8, 32, 128), max_guesses=20_000_000),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure the exact prior first, then the risk on nine points, then the cube."""
    exact = lab.grid(exact_prior, settings, width=settings.widths)
    law = lab.cached("sampler-law", lambda: sampler_law(settings))
    risk = lab.grid(exact_risk, settings, width=settings.widths, size=settings.sizes, seed=settings.seeds)
    beyond = lab.grid(exceedances, settings, width=settings.widths, size=settings.bound_sizes)
    cube = lab.grid(random_against_trained, settings, width=settings.cube_widths, seed=settings.cube_seeds)
    measure_prior(lab, exact, law)
    measure_risk(lab, risk, beyond, settings)
    measure_complexity(lab, exact, risk)
    measure_cube(lab, cube)
    columns = ("teacher probability", "complexity", "counting bound", "all weights", "functions", "constant")
    lab.table("prior", exact, columns=columns, caption="Exact prior on nine points by hidden units; complexity in nats")
    lab.table("risk", risk, columns=("risk", "over bound"), caption="Exact mean risk of guess and check on nine points")
    columns = ("random", "Adam", "random labels", "guesses", "restarts")
    caption = "Error on unseen points of the cube of networks that fit; -1 where none was found"
    lab.table("cube", cube, columns=columns, caption=caption)
    lab.figure("priors", draw_priors(settings.widths), caption="Prior probability of each function, by hidden units")
    lab.figure("risk", draw_risk(risk, exact), caption="Mean test error of guess and check, and the teacher's bound")


def measure_prior(lab: Lab, exact: Grid, law: dict[str, float]) -> None:
    """C2: the exact prior, and that guess and check draws from it."""
    widest = exact.cells[-1]
    what = "prior probability of the constant -1 times the number of functions, widest network on nine points"
    lab.measure("C2", widest["constant"] * widest["functions"], at_least=10, what=what)
    what = "prior probability, in the widest network, of the functions that one hidden unit can express"
    lab.measure("C2", widest["width-1 functions"], at_least=0.5, what=what)
    what = f"p-value of the chi-square test of {law['draws']} networks of guess and check against the exact posterior"
    lab.measure("C2", law["p"], at_least=1e-3, what=what)
    what = "mean number of guesses less 1 / P(fit), in standard errors, over all networks found for three points"
    lab.measure("C2", law["standard errors"], at_most=3, what=what)


def measure_risk(lab: Lab, risk: Grid, beyond: Grid, settings: Settings) -> None:
    """C1: the exact risk falls below the teacher's bound, and the bound holds as often as it must."""
    what = "mean risk of guess and check over (complexity of the teacher / N), worst width and N, nine points"
    lab.measure("C1", risk["over bound"].max((0, 1)), at_most=1.0, what=what)
    what = "largest change of the mean risk from one N to the next larger one, all widths, nine points"
    lab.measure("C1", np.diff(risk["risk"], axis=1).max((0, 1)), at_most=0.0, what=what)
    for place, cell in beyond.places():
        what = (
            f"networks of guess and check with an error above the bound {cell['bound']:.2f} at confidence "
            f"{1 - DELTA:g}, {place['width']} hidden units, N = {place['size']}"
        )
        lab.measure("C1", cell["exceeded"], of=settings.trials, at_most=DELTA, what=what)


def measure_complexity(lab: Lab, exact: Grid, risk: Grid) -> None:
    """C3: the teacher's probability against counting, and the price of a wider student."""
    gap = (exact["complexity"] - exact["counting bound"]).max()
    what = "effective sample complexity less the bound from counting weights, in nats, worst width"
    lab.measure("C3", gap, at_most=0.0, what=what)
    change = abs(exact["complexity"][-1] - exact["complexity"][0])
    what = "change of the effective sample complexity from the narrowest to the widest student, in nats"
    lab.measure("C3", change, at_most=0.5, what=what)
    lab.measure(
        "C3",
        exact["all weights"][-1] - exact["all weights"][0],
        what="growth of the bound from counting all weights of the student, M log 3, over these widths, in nats",
    )
    size = risk.factors["size"][1]
    ratio = risk["risk"][-1, 1] / risk["risk"][0, 1]
    what = f"mean risk of guess and check, widest over narrowest student, N = {size}"
    lab.measure("C3", ratio, at_most=2.0, what=what)


def measure_cube(lab: Lab, cube: Grid) -> None:
    """C4, and C1 and C3 where nothing can be enumerated; seeds without a network for some width are left out."""
    both = (cube["random"] >= 0) & (cube["Adam"] >= 0)
    lab.measure("C4", float(both.sum()), what=f"cases of {both.size} in which both a random and an Adam network fit")
    whole = both.all(0)
    if whole.sum() < 2:
        for claim in ("C4", "C3"):
            lab.measure(claim, untested="networks were found for too few seeds", what="errors on the cube {-1, 1}^7")
        return
    random, trained = cube["random"][:, whole], cube["Adam"][:, whole]
    for width, guessed, adam in zip(cube.factors["width"], random, trained, strict=True):
        what = f"error of random less that of Adam networks on unseen points of the cube, {width} hidden units"
        lab.measure("C4", guessed - adam, at_most=0.10, what=what)
    spread = np.ptp(random.mean(1))
    what = "mean error of random networks on unseen points of the cube, largest less smallest over widths"
    lab.measure("C3", spread, at_most=0.10, what=what)
    lab.measure("C1", random.mean(0), what="mean error of random networks on unseen points of the cube, all widths")
    for width, errors in zip(cube.factors["width"], cube["random labels"], strict=True):
        found = errors[errors >= 0]
        if len(found) > 1:
            what = f"control: distance from 0.5 of the mean error on unseen random labels, {width} hidden units"
            lab.measure("C1", abs(found.mean() - 0.5), at_most=0.1, what=what)
