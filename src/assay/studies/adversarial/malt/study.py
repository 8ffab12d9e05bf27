"""MALT Powers Up Adversarial Attacks (Melamed, Yehudai, Shamir, 2024).

The published tables rest on RobustBench's networks for CIFAR-100 and ImageNet, which cannot be had offline. Here the
many classes come from pairs of 14 x 14 images side by side (clothes left, digits right: 100 classes), and the robust
network is a perceptron trained against PGD. Both rankings drive the same attack with the same number of iterations.
AutoAttack is represented by its gradient attacks; Square, which uses no gradients, is left out.

The first target's gain over the naive ranking was undecided with 1000 test samples, [0.0141, 0.0287] against a bar of
0.015; the samples were then doubled and the bar left: read its verdict knowing that the size was chosen after a look.

"Success" is the share of all test samples that are classified correctly and broken by the attack: the fall from clean
to robust accuracy.
"""

from dataclasses import replace

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.lab.plots import curves
from assay.lab.tables import summarise
from assay.nets import Recipe
from assay.studies.adversarial.malt.autoattack import INSTALLED, MISSING, SEQUENCE, compare_with_autoattack
from assay.studies.adversarial.malt.cells import SHARES, compare_rankings, correlate_with_distance, linearise
from assay.studies.adversarial.malt.exact import score_linear, turn_gradients
from assay.studies.adversarial.malt.networks import train_robust
from assay.studies.adversarial.malt.settings import Settings

UNREACHABLE = "RobustBench's CIFAR-100 and ImageNet networks are downloads that this package does not make"

STUDY = Study(
    slug="malt",
    paper=Paper(
        "MALT Powers Up Adversarial Attacks", "Melamed, Yehudai, Shamir", 2024, arxiv="2407.02240", venue="NeurIPS 2024"
    ),
    methods=(
        "adversarial.MALT",
        "adversarial.TargetedAPGD",
        "adversarial.almost_linearity",
        "adversarial.malt_scores",
        "adversarial.malt_targets",
    ),
    claims={
        "C1": Claim(
            "Aiming at the likeliest classes is naive: logit gap over gradient norm ranks classes by distance",
            paper="abstract, states no number; histogram of successes by target rank (plot, no number)",
        ),
        "C2": Claim(
            "On robust networks of many classes MALT keeps AutoAttack's successes and adds new ones",
            paper="abstract, states no number; results tables, not available to us",
        ),
        "C3": Claim("It is five times faster than AutoAttack", paper="abstract: five times faster than AutoAttack"),
        "C4": Claim(
            "Networks are almost linear at the scale of an attack: random two-layer ones provably, trained ones too",
            paper="abstract, states no number; plots of the gradient's change and of predicted logits (no number)",
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            sources=("fashion", "digits"),
            n_train=4000,
            n_test=200,
            recipe=Recipe(hidden=(128,), epochs=8, batch_size=128),
            n_iter=5,
            ladder_points=4,
            subset=100,
            width=1000,
        ),
        "small": Settings(),
        "paper": Settings(
            n_train=60_000, n_test=10_000, recipe=Recipe(hidden=(1024, 1024), epochs=40, batch_size=128), n_iter=100
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Measure where the answer is known first, then the robust networks."""
    clothes, digits = settings.sources
    settings = replace(settings, sources=(lab.data(clothes), lab.data(digits, instead="digits")))
    measure_linear(lab, lab.grid(score_linear, settings, seed=settings.seeds))
    measure_random(lab, settings, lab.grid(turn_gradients, settings, seed=settings.seeds))

    networks = lab.grid(train_robust, settings, seed=settings.seeds)
    rankings = lab.grid(compare_rankings, settings, after=networks)
    distances = lab.grid(correlate_with_distance, settings, after=networks)
    linearity = lab.grid(linearise, settings, after=networks)
    measure_targets(lab, settings, rankings)
    gain = distances["malt"] - distances["gap"]
    what = "Spearman correlation with bisected distances to 20 classes: MALT's scores less plain logit gaps"
    lab.measure("C1", gain, at_least=0.05, what=what)
    measure_linearity(lab, linearity)
    values = {
        f"clean accuracy ({' | '.join(settings.sources)})": rankings["clean"],
        "robust accuracy under MALT": rankings["clean"] - rankings["malt"][:, -1],
        "Spearman correlation of MALT's scores with distances": distances["malt"],
        "gradient's change at the adversarial point": linearity["adversarial"][:, -1],
        "gradient's change, pixels of the perturbation shuffled": linearity["shuffled"][:, -1],
        "MALT's passes over the naive ranking's": rankings["malt passes"] / rankings["naive passes"],
    }
    if INSTALLED:
        values |= measure_speed(lab, lab.grid(compare_with_autoattack, settings, after=networks))
    else:
        lab.measure("C3", untested=MISSING, what=f"MALT's CPU seconds over those of {SEQUENCE}")
    rows = [{"quantity": name, "value": summarise(found)} for name, found in values.items()]
    lab.table("networks", rows, caption="Robust networks: mean and 95% interval over seeds")
    if lab.scale == "paper":
        for claim in ("C2", "C3"):
            lab.measure(claim, untested=UNREACHABLE, what="the paper's own networks")


def measure_linear(lab: Lab, found: Grid) -> None:
    """C1 on linear networks."""
    what = "linear network: largest relative error of MALT's score as the distance to a class"
    lab.measure("C1", found["error"].max(), at_most=1e-6, what=what)
    what = "linear network: least share of 200 points whose classes MALT orders by exact distance"
    lab.measure("C1", found["agreement"].min(), at_least=1.0, what=what)
    trap = "linear network with a far runner-up: success of the first target"
    lab.measure("C1", found["malt"][0], at_least=1.0, what=f"{trap}, MALT's")
    lab.measure("C1", found["naive"][0], at_most=0.0, what=f"{trap}, the likeliest class (is to fail)")


def measure_random(lab: Lab, settings: Settings, found: Grid) -> None:
    """C4 on random networks: the largest relative error of the formula, over dimensions and radii."""
    for along, bar in (("random", 0.1), ("gradient", 0.2)):
        errors = abs(found[along] / found["formula"] - 1).max((1, 2))
        what = f"random networks, {along} direction: largest relative error of sqrt(2/pi arctan(R/sqrt d))"
        lab.measure("C4", errors, at_most=bar, what=what)
    rows = [
        {"d": d, "R": radius, "formula": summarise(found["formula"][:1, i, j])}
        | {f"{along} direction": summarise(found[along][:, i, j]) for along in ("random", "gradient")}
        for i, d in enumerate(settings.features)
        for j, radius in enumerate(settings.radii)
    ]
    lab.table("random-networks", rows, caption="Relative change of the gradient in random two-layer networks")


def measure_targets(lab: Lab, settings: Settings, found: Grid) -> None:
    """C2 against the naive ranking, with the picture of it."""
    malt, naive, tried = found["malt"], found["naive"], range(1, settings.n_targets + 1)
    first, last = (malt - naive)[:, 0], (malt - naive)[:, -1]
    lab.measure("C2", first, at_least=0.015, what="success with the first target: MALT's less the naive ranking's")
    spared = targets_needed(naive) - targets_needed(malt)
    what = "targets that bring 99% of a ranking's final success: the naive ranking's number less MALT's"
    lab.measure("C2", spared, at_least=1, what=what)
    what = (
        f"success after {settings.n_targets} targets: MALT's less the naive ranking's, which AutoAttack's APGD-T uses"
    )
    lab.measure("C2", last, at_least=0.0, what=what)
    rows = [
        {"targets": k, "MALT": summarise(malt[:, k - 1]), "naive ranking": summarise(naive[:, k - 1])} for k in tried
    ]
    lab.table("success", rows, caption="Share of the test samples broken after so many targets, over networks")
    figure = curves(
        tried,
        {"MALT: nearest first": malt / malt[:, -1:], "naive: likeliest first": naive / malt[:, -1:]},
        xlabel="targets tried",
        ylabel="share of all successes found",
        title="Success by number of targets",
    )
    caption = "Successes after so many targets, of those that MALT has in the end: mean and range over networks."
    lab.figure("success-by-target", figure, caption=caption)


def targets_needed(success: np.ndarray) -> np.ndarray:
    """Return after how many targets 99% of the final success is reached, for each network."""
    return 1 + np.argmax(success >= 0.99 * success[:, -1:], axis=1)


def measure_linearity(lab: Lab, found: Grid) -> None:
    """C4 on the robust networks."""
    what = "robust networks: share of MALT's successes whose attacked class the first-order scores predict"
    lab.measure("C4", found["predicted"], at_least=0.7, what=what)
    figure = curves(
        SHARES,
        {"perturbation": found["adversarial"], "pixels shuffled": found["shuffled"]},
        xlabel="share of the perturbation",
        ylabel="relative change of the gradient",
        title="Almost linearity",
        band="seeds",
    )
    caption = "How far the gradient of the score gap turns on the way to the adversarial point, one line a network."
    lab.figure("almost-linearity", figure, caption=caption)


def measure_speed(lab: Lab, found: Grid) -> dict[str, np.ndarray]:
    """C3, and C2 against AutoAttack itself; return what has no bar."""
    # The paper's AutoAttack also runs Square, which takes time of its own.
    what = f"MALT's CPU seconds over those of {SEQUENCE}"
    lab.measure("C3", found["seconds"], at_most=0.5, what=f"{what}: at most half")
    lab.measure("C3", found["seconds"], at_most=0.2, what=f"{what}: at most a fifth, as in the paper")
    lab.measure("C2", found["success"], at_least=0.0, what=f"success of MALT less that of {SEQUENCE}")
    return {
        f"MALT's passes over those of {SEQUENCE}": found["passes"],
        f"share of samples that only {SEQUENCE} break": found["missed"],
    }
