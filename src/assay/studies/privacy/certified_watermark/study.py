"""Certified Neural Network Watermarks with Randomized Smoothing (Bansal et al., 2022).

The paper watermarks residual networks on MNIST and CIFAR. Here perceptrons on scikit-learn's digits are watermarked
with triggers of four families: uniform noise images, text overlays, images with a noise image added, images of another
data set. The owner holds one half of the training images, the attacker the other. The smoothed watermark, trained under
parameter noise, has three rivals: no watermark; the plain one, with triggers among the data; the repeated one, with as
many steps on triggers as the smoothed one, but without noise. Settings are those of a prototype on other splits; bars
were set before this study ran.

Bounds are tested by attacks of all kinds, confined to certified distances; some know the triggers and the noise. A
bound counts as broken where a binomial test on fresh draws rejects, at level 1e-4, that half of them or more reach it.
Attacks without a limit know neither triggers nor noise.
"""

from dataclasses import replace

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.studies.privacy.certified_watermark.attacks import blind_attacks
from assay.studies.privacy.certified_watermark.cells import ATTACKED, COMPARED, remove, try_bounds, watermark
from assay.studies.privacy.certified_watermark.figures import (
    draw_certificates,
    draw_unlearning,
    removal_rows,
    try_rows,
)
from assay.studies.privacy.certified_watermark.owners import FAMILIES, WATERMARKS
from assay.studies.privacy.certified_watermark.settings import RECIPE, Settings

STUDY = Study(
    slug="certified-watermark",
    paper=Paper(
        "Certified Neural Network Watermarks with Randomized Smoothing",
        "Bansal, Chiang, Curry, Jain, Wigington, Manjunatha, Dickerson, Goldstein",
        2022,
        arxiv="2207.07972",
        venue="ICML 2022",
    ),
    methods=(
        "privacy.SmoothedWatermark",
        "privacy.TriggerSet",
        "privacy.certify_watermark",
        "privacy.watermark.Retraining",
        "privacy.watermark.TriggerAscent",
        "privacy.watermark.RandomShift",
        "privacy.watermark.Pruning",
        "privacy.watermark.Quantisation",
    ),
    claims={
        "C1": Claim(
            "A watermark can be certified: no change of the parameters within an l2 radius removes it",
            paper="abstract, states no number; certificate tables, not available to us",
        ),
        "C2": Claim(
            "Beyond the certificate, it is more robust to removal attacks than earlier watermarks",
            paper="abstract, states no number; results tables, not available to us",
        ),
        "C3": Claim("The network keeps its accuracy on its own task", paper="states no number"),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            recipe=replace(RECIPE, hidden=(16,), epochs=4, batch_size=256),
            n_levels=2,
            n_noise=2,
            warmup=1,
            draws=40,
            radii=(0.1,),
            attack_epochs=1,
            ascent_steps=2,
            confined_epochs=1,
            budgets=(1.0,),
            unlearning_lrs=(1e-2,),
        ),
        "small": Settings(),
        "paper": Settings(
            source="mnist",
            recipe=replace(RECIPE, hidden=(512, 512), epochs=100, batch_size=256),
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
    settings = replace(settings, source=lab.data(settings.source, instead="digits"))
    found = lab.grid(watermark, settings, triggers=FAMILIES, watermark=WATERMARKS, seed=settings.seeds)
    for family, networks in found.by("triggers").items():
        measure_certificates(lab, family, networks)
        measure_accuracy(lab, family, networks)
    networks = found.at(triggers=ATTACKED)
    tries = lab.grid(try_bounds, settings, after=networks.at(watermark="smoothed"))
    measure_tries(lab, tries)
    plain, smoothed = (
        lab.grid(remove, settings, name=f"remove-{kind}", after=networks.at(watermark=kind)) for kind in COMPARED
    )
    measure_removals(lab, settings, plain, smoothed)
    measure_unlearning(lab, settings, plain, smoothed)
    caption = "Certified trigger accuracy by distance; dots are medians under noise of attacked networks"
    lab.figure("certificates", draw_certificates(settings, networks, tries), caption=caption)
    caption = "Trigger accuracy left by unlearning of known triggers, by distance allowed"
    lab.figure("unlearning", draw_unlearning(settings, plain, smoothed), caption=caption)
    caption = "Networks by trigger family; within the certified radius the median under noise stays at 0.5 or above"
    lab.table("families", found, caption=caption)
    caption = f"Networks with {ATTACKED} triggers after attacks without knowledge of the triggers"
    lab.table("removals", removal_rows(settings, plain, smoothed), caption=caption)
    if rows := try_rows(settings, tries):
        caption = "Attacks within certified distances, all seeds; slack is the attacked network's median less the bound"
        lab.table("tries", rows, caption=caption)


def measure_certificates(lab: Lab, family: str, networks: Grid) -> None:
    """C1: the bound within sigma, with and without noise in training."""
    bound = {kind: each["certified within sigma"] for kind, each in networks.by("watermark").items()}
    what = f"{family} triggers: trigger accuracy certified within distance sigma"
    lab.measure("C1", bound["smoothed"], at_least=0.9, what=f"{what}, smoothed watermark")
    lab.measure("C1", bound["plain"], at_most=0.2, what=f"{what}, plain watermark")
    lab.measure("C1", bound["repeated"], at_most=0.2, what=f"{what}, repeated watermark")


def measure_accuracy(lab: Lab, family: str, networks: Grid) -> None:
    """C3: the network's own task, beside a plain watermark and beside none."""
    test = {kind: each["test accuracy"] for kind, each in networks.by("watermark").items()}
    for kind, rival in (("plain", "a plain watermark"), ("none", "no watermark")):
        what = f"{family} triggers: test accuracy of a network with {rival} less that with a smoothed one"
        lab.measure("C3", test[kind] - test["smoothed"], at_most=0.02, what=what)


def measure_tries(lab: Lab, tries: Grid) -> None:
    """C1: attacks within certified distances."""
    what = f"{ATTACKED} triggers, smoothed watermark: number of bounds broken by attacks within certified distances"
    if (tries["bound"] > 0).any((1, 2)).all():
        lab.measure("C1", tries["broken"].sum((1, 2)), at_most=0, what=what)
    else:
        lab.measure("C1", untested="on some seed nothing is certified, so that there is no bound to break", what=what)


def measure_removals(lab: Lab, settings: Settings, plain: Grid, smoothed: Grid) -> None:
    """C2: trigger accuracy under noise after attacks by one who does not know the triggers."""
    gains = smoothed["median under noise"] - plain["median under noise"]
    for attack, gain in zip(blind_attacks(settings), gains.T, strict=True):
        what = f"{ATTACKED} triggers after {attack}: median accuracy under noise, smoothed watermark less plain one"
        lab.measure("C2", gain, at_least=0.3, what=what)


def measure_unlearning(lab: Lab, settings: Settings, plain: Grid, smoothed: Grid) -> None:
    """C2: trigger accuracy without noise, attacked by one who knows the triggers, up to large distances."""
    gains = smoothed["after unlearning"] - plain["after unlearning"]
    what = f"{ATTACKED} triggers after unlearning: accuracy without noise, smoothed watermark less plain one"
    lab.measure("C2", gains.mean(1), at_least=0.05, what=f"{what}, mean over budgets")
    for budget, gain in zip(settings.budgets, gains.T, strict=True):
        lab.measure("C2", gain, at_least=0.0, what=f"{what}, within distance {budget:g}")
