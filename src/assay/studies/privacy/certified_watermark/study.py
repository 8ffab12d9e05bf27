"""Certified Neural Network Watermarks with Randomized Smoothing (Bansal et al., 2022).

The paper watermarks residual networks on MNIST and CIFAR. Here perceptrons on scikit-learn's digits are watermarked
with triggers of four families; the owner holds one half of the training images, the attacker the other. Beside the
plain watermark (triggers among the data) stands one that takes as many steps on triggers as the smoothed one, without
noise. Settings are those of a prototype on other splits; bars were set before this study ran.

A bound is tried by attacks of all kinds, confined to distances for which there is one: it counts as broken where a
binomial test on fresh draws rejects, at level 1e-4, that half of them or more reach it. Among the attackers are some
who know the triggers and the noise. Attacks that may go further are those of an attacker who knows neither.

Found at `small`: within sigma every smoothed watermark is certified in full, no plain one is, and more steps on
triggers do not replace the noise. All comparisons under attack favour the smoothed watermark on average; undecided is
one gain under noise, that of hard distillation, whose mean is twice the bar but whose interval over five seeds reaches
just below it. Networks without any watermark give the triggers' class to half of the images of the other data set: such
triggers prove little, however well they are certified.
"""

from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.core import accuracy, flatten, named_parameters, predict, spawn_seeds
from assay.lab import Lab, Paper, Study
from assay.privacy import WatermarkCertificate, certify_watermark
from assay.studies.privacy.certified_watermark.attacks import Try, remove, try_bounds, unlearn
from assay.studies.privacy.certified_watermark.owners import (
    ARMS,
    FAMILIES,
    Scene,
    Settings,
    make_scene,
    noisy_accuracies,
)

Cell = tuple[Settings, str, int]
"""Settings, family of triggers, seed."""

ATTACKED = FAMILIES[0]  # watermarks of the other families are certified only

STUDY = Study(
    slug="certified-watermark",
    paper=Paper(
        "Certified Neural Network Watermarks with Randomized Smoothing",
        "Bansal, Chiang, Curry, Jain, Wigington, Manjunatha, Dickerson, Goldstein",
        2022,
        arxiv="2207.07972",
        venue="ICML 2022",
    ),
    claims={
        "C1": "A watermark can be certified: no change of the parameters within an l2 radius removes it",
        "C2": "Beyond the certificate, it persists under removal attacks better than one that is embedded plainly",
        "C3": "The network keeps its accuracy on its own task",
    },
    scales={
        "smoke": Settings(
            seeds=2,
            epochs=4,
            hidden=(16,),
            batch_size=256,
            n_levels=2,
            n_noise=2,
            warmup=1,
            draws=40,
            radii=(0.1,),
            attack_epochs=1,
            ascent_steps=2,
            confined_epochs=1,
            budgets=(1.0,),
            forget_lrs=(1e-2,),
        ),
        "small": Settings(),
        "paper": Settings(
            source="mnist",
            hidden=(512, 512),
            epochs=100,
            batch_size=256,
            n_triggers=100,
            n_levels=21,
            n_noise=100,
            draws=10000,
            attack_epochs=50,
            attack_lr=1e-3,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Certify watermarks of every family, attack those of the first, and compare the ways to embed them."""
    seeds = spawn_seeds(lab.seed, settings.seeds)
    owners = {
        family: lab.map(examine, [(settings, family, seed) for seed in seeds], name=family) for family in FAMILIES
    }
    for family, cells in owners.items():
        measure_certificates(lab, family, cells)
        measure_accuracy(lab, family, cells)
    measure_tries(lab, owners[ATTACKED])
    measure_removals(lab, owners[ATTACKED])
    measure_unlearning(lab, settings, owners[ATTACKED])
    lab.figure("certificates", draw_certificates(settings, owners[ATTACKED]), caption=CERTIFICATES)
    lab.figure("unlearning", draw_unlearning(settings, owners[ATTACKED]), caption=UNLEARNING)
    lab.table("families", family_rows(owners), caption=FAMILY_ROWS)
    lab.table("removals", removal_rows(owners[ATTACKED]), caption=REMOVAL_ROWS)
    tries = [each for cell in owners[ATTACKED] for each in cell["tries"]]
    if tries:
        lab.table("tries", try_rows(tries), caption=TRY_ROWS)


# --- One owner's networks, what is certified of them, and what attacks leave ---------------------------------------


def examine(cell: Cell) -> dict[str, Any]:
    """Return for each arm its accuracies and certified bounds, and for the first family what the attacks did."""
    settings, family, seed = cell
    scene_seed, draw_seed, attack_seed = spawn_seeds(seed, 3)
    scene = make_scene(settings, family, scene_seed)
    certify = partial(certify_watermark, sigma=settings.sigma, radii=distances(settings))
    certificates = {
        arm: certify(noisy_accuracies(settings, scene, network, draw_seed)) for arm, network in scene.networks.items()
    }
    arms = {arm: describe(scene, arm) | certified(certificates[arm]) for arm in ARMS}
    if family != ATTACKED:
        return {"arms": arms}
    compared = {arm: scene.networks[arm] for arm in ("plain", "smoothed")}
    return {
        "arms": arms,
        "tries": try_bounds(settings, scene, scene.networks["smoothed"], certificates["smoothed"], attack_seed),
        "removals": {arm: remove(settings, scene, network, attack_seed) for arm, network in compared.items()},
        "unlearning": {arm: unlearn(settings, scene, network, attack_seed) for arm, network in compared.items()},
    }


def distances(settings: Settings) -> list[float]:
    """Return the distances at which bounds are shown; `WITHIN_SIGMA` is the place of sigma among them."""
    return [settings.sigma * step / 4 for step in range(13)]


WITHIN_SIGMA = 4


def describe(scene: Scene, arm: str) -> dict[str, float]:
    """Return what a network does without noise."""
    network, triggers = scene.networks[arm], scene.triggers
    return {
        "test": accuracy(predict(network, scene.test[0]), scene.test[1]),
        "triggers": accuracy(predict(network, triggers.x), triggers.y),
        "norm": flatten(named_parameters(network)).norm().item(),
    }


def certified(certificate: WatermarkCertificate) -> dict[str, Any]:
    """Return a certificate's figures."""
    return {"median": certificate.value, "bounds": certificate.bounds.tolist(), "radius": certificate.radius(0.5)}


# --- The claims ----------------------------------------------------------------------------------------------------


def over_seeds(cells: list[dict[str, Any]], arm: str, key: str) -> np.ndarray:
    """Return one figure of an arm for each seed."""
    return np.array([cell["arms"][arm][key] for cell in cells])


def measure_certificates(lab: Lab, family: str, cells: list[dict[str, Any]]) -> None:
    """C1: what is certified within sigma, with and without noise in training."""
    bounds = {arm: over_seeds(cells, arm, "bounds")[:, WITHIN_SIGMA] for arm in ARMS}
    what = f"{family} triggers: certified accuracy within sigma"
    lab.measure("C1", bounds["smoothed"], at_least=0.9, what=what)
    lab.measure("C1", bounds["plain"], at_most=0.2, what=f"{what}, plain watermark")
    lab.measure("C1", bounds["repeated"], at_most=0.2, what=f"{what}, as many steps on triggers without noise")
    lab.measure("C1", over_seeds(cells, "none", "triggers"), what=f"{family} triggers: accuracy without watermark")


def measure_accuracy(lab: Lab, family: str, cells: list[dict[str, Any]]) -> None:
    """C3: the network's own task, beside a plain watermark and beside none."""
    test = {arm: over_seeds(cells, arm, "test") for arm in ARMS}
    for arm, name in (("plain", "a plain watermark"), ("none", "no watermark")):
        what = f"{family} triggers: test accuracy lost to {name}"
        lab.measure("C3", test[arm] - test["smoothed"], at_most=0.02, what=what)


def measure_tries(lab: Lab, cells: list[dict[str, Any]]) -> None:
    """C1: attacks within certified distances."""
    tries = [cell["tries"] for cell in cells]
    what = "bounds broken by attacks within certified distances"
    if not all(tries):
        lab.measure("C1", untested="on some seed nothing is certified, so that there is no bound to break", what=what)
        return
    lab.measure("C1", [sum(each["broken"] for each in one) for one in tries], at_most=0, what=what)
    lab.measure("C1", [len(one) for one in tries], what="bounds tried")
    slack = [min(each["median"] - each["bound"] for each in one) for one in tries]
    lab.measure("C1", slack, what="least distance of an attacked network's median from its bound")


def measure_removals(lab: Lab, cells: list[dict[str, Any]]) -> None:
    """C2: what is left under noise, and of the network's own answers, after attacks without limits."""
    for name in cells[0]["removals"]["plain"]:
        left = {
            arm: {key: np.array([cell["removals"][arm][name][key] for cell in cells]) for key in STAGE}
            for arm in ("plain", "smoothed")
        }
        gain = left["smoothed"]["smoothed_median"] - left["plain"]["smoothed_median"]
        lab.measure("C2", gain, at_least=0.3, what=f"{name}: gain over plain in median trigger accuracy under noise")
        gain = left["smoothed"]["trigger_accuracy"] - left["plain"]["trigger_accuracy"]
        lab.measure("C2", gain, what=f"{name}: the gain in the network's own trigger accuracy")


def measure_unlearning(lab: Lab, settings: Settings, cells: list[dict[str, Any]]) -> None:
    """C2: the network's own answers, attacked by one who knows the triggers and may go so far."""
    gains = np.array([np.subtract(cell["unlearning"]["smoothed"], cell["unlearning"]["plain"]) for cell in cells])
    what = "unlearning: gain over plain in the network's own trigger accuracy"
    lab.measure("C2", gains.mean(1), at_least=0.05, what=f"{what}, mean over budgets")
    for budget, gain in zip(settings.budgets, gains.T, strict=True):
        lab.measure("C2", gain, at_least=0.0, what=f"{what}, within {budget:g}")


# --- What is shown -------------------------------------------------------------------------------------------------

STAGE = ("distance", "test_accuracy", "trigger_accuracy", "smoothed_median")
CERTIFICATES = "certified trigger accuracy by distance, mean over seeds; dots are medians of the attacked networks"
UNLEARNING = "trigger accuracy left by unlearning of known triggers, by distance allowed; mean over seeds"
FAMILY_ROWS = "means over seeds; bounds are within sigma, radii those within which the median stays at 0.5 or above"
TRY_ROWS = "attacks confined to certified distances, all seeds; slack is the attacked network's median less the bound"
REMOVAL_ROWS = "means over seeds of what attacks left of watermarks of uniform noise images"


def draw_certificates(settings: Settings, cells: list[dict[str, Any]]) -> Figure:
    """Draw each arm's bounds, and what attacks within them reached."""
    figure, axes = plt.subplots()
    for arm in ARMS:
        axes.plot(distances(settings), over_seeds(cells, arm, "bounds").mean(0), label=arm)
    tries = [each for cell in cells for each in cell["tries"]]
    axes.plot([each["distance"] for each in tries], [each["median"] for each in tries], "k.", markersize=3, alpha=0.4)
    axes.set_xlabel("distance of the parameters")
    axes.set_ylabel("smoothed trigger accuracy")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(title="watermark")
    return figure


def draw_unlearning(settings: Settings, cells: list[dict[str, Any]]) -> Figure:
    """Draw what unlearning leaves of both watermarks."""
    figure, axes = plt.subplots()
    for arm in ("plain", "smoothed"):
        left = np.mean([cell["unlearning"][arm] for cell in cells], axis=0)
        axes.plot(settings.budgets, left, marker="o", label=arm)
    axes.set_xlabel("distance allowed")
    axes.set_ylabel("trigger accuracy")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(title="watermark")
    return figure


def family_rows(owners: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one row a family and arm."""
    return [
        {
            "triggers": family,
            "watermark": arm,
            "test accuracy": mean(over_seeds(cells, arm, "test")),
            "trigger accuracy": mean(over_seeds(cells, arm, "triggers")),
            "median under noise": mean(over_seeds(cells, arm, "median")),
            "bound": mean(over_seeds(cells, arm, "bounds")[:, WITHIN_SIGMA]),
            "radius": mean(over_seeds(cells, arm, "radius")),
            "norm of the parameters": mean(over_seeds(cells, arm, "norm")),
        }
        for family, cells in owners.items()
        for arm in ARMS
    ]


def removal_rows(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row an attack and arm."""
    return [
        {"attack": name, "watermark": arm}
        | {key.replace("_", " "): mean([cell["removals"][arm][name][key] for cell in cells]) for key in STAGE}
        for name in cells[0]["removals"]["plain"]
        for arm in ("plain", "smoothed")
    ]


def try_rows(tries: list[Try]) -> list[dict[str, Any]]:
    """Return one row for each kind of attack within certified distances."""
    rows = []
    for name in dict.fromkeys(each["attack"] for each in tries):
        own = [each for each in tries if each["attack"] == name]
        rows.append(
            {
                "attack": name,
                "bounds tried": len(own),
                "broken": sum(each["broken"] for each in own),
                "least median": round(min(each["median"] for each in own), 3),
                "least slack": round(min(each["median"] - each["bound"] for each in own), 3),
            }
        )
    return rows


def mean(values: Any) -> float:
    """Return a mean as tables show it."""
    return round(float(np.mean(values)), 3)
