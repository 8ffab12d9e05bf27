"""Canary in a Coalmine: Better Membership Inference with Ensembled Adversarial Queries (Wen et al., 2023).

The paper attacks wide residual networks on CIFAR with 64 shadow models. Here pools of a few hundred Fashion-MNIST
images train small convolution networks and perceptrons to nearly 100% on their half; target models, shadow models and
the models that judge the canaries are trained on halves drawn independently. The radius of the canaries and the size
of the networks come from trials on other pools. Every attack on a target uses the same shadow models and as many
queries; "shifted" is LiRA's own way to spend them. Radii of 24/255 and more were worse in the trials.

Verdicts compare seeds (each a pool with networks of its own), since target models of one seed share their shadows.
"""

from dataclasses import replace

import numpy as np

from assay.lab import Claim, Grid, Lab, Paper, Study
from assay.nets import Recipe
from assay.studies.privacy.canary_membership.cells import KINDS, SCORES, attack, over_targets
from assay.studies.privacy.canary_membership.figures import draw_roc
from assay.studies.privacy.canary_membership.settings import Kind, Settings

STUDY = Study(
    slug="canary-membership",
    paper=Paper(
        "Canary in a Coalmine: Better Membership Inference with Ensembled Adversarial Queries",
        "Wen, Bansal, Kazemi, Borgnia, Goldblum, Geiping, Goldstein",
        2023,
        arxiv="2210.10750",
        venue="ICLR 2023",
    ),
    methods=("privacy.CanaryAttack", "privacy.DirectAttack", "privacy.LiRA", "privacy.ShadowEnsemble"),
    claims={
        "C1": Claim(
            "A sample itself and simple augmentations of it are queries that carry little information",
            paper="abstract, states no number",
        ),
        "C2": Claim(
            "Queries can be optimised to be discriminative, between models that saw a sample and models that did not, "
            "and diverse",
            paper="abstract, states no number",
        ),
        "C3": Claim(
            "Canaries infer membership more accurately, most of all offline and at low false positive rates",
            paper="abstract, states no number; results tables, not available to us",
        ),
        "C4": Claim(
            "Offline, the one-tailed score is better than the two-tailed one of the paper's released code", ours=True
        ),
    },
    scales={
        "smoke": Settings(
            seeds=2,
            source="fashion",
            pool=60,
            shadows=8,
            judges=2,
            targets=3,
            convolution=Kind(Recipe(16, (4,), epochs=4, lr=5e-3, batch_size=15), 8.0, 4.0),
            perceptron=Kind(Recipe(16, epochs=6, lr=2e-3, batch_size=25), 4.0, 4.0),
            n_queries=2,
            steps=2,
            models_per_step=2,
        ),
        "small": Settings(),
        "paper": Settings(
            source="cifar10",
            pool=5000,
            shadows=64,
            convolution=Kind(Recipe(512, (64, 128, 256), epochs=100, lr=5e-3, batch_size=256), 1.0, 1.0),
            perceptron=Kind(Recipe(512, epochs=100, lr=2e-3, batch_size=256), 1.0, 1.0),
            n_queries=10,
            steps=30,
            models_per_step=2,
            max_shift=4,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack both kinds of network on every seed, and compare the attacks at equal budgets."""
    settings = replace(settings, source=lab.data(settings.source))
    found = lab.grid(attack, settings, kind=KINDS, seed=settings.seeds)
    for kind, pools in found.by("kind").items():
        measure_queries(lab, kind, pools)
        measure_online(lab, kind, pools)
        measure_offline(lab, kind, pools)
        off = abs(pools["control: AUC"] - 0.5)
        lab.measure("C3", off, at_most=0.05, what=f"{kind}: control, |AUC - 0.5| against membership of other samples")
        caption = f"{kind.capitalize()}: members told from non-members, all target models of all seeds"
        lab.figure(f"roc-{kind}", draw_roc(pools), caption=caption)
    rows = [row for kind, pools in found.by("kind").items() for row in attack_rows(kind, pools)]
    lab.table("attacks", rows, caption="All target models of all seeds, with 95% intervals over the target models")
    columns = ("accuracy on members", "accuracy on non-members")
    lab.table("targets", found, columns=columns, caption="Accuracy of the target models")


def measure_queries(lab: Lab, kind: str, pools: Grid) -> None:
    """C2: canaries on models that had no part in crafting them; the worst seed counts."""
    what = f"{kind}: canary objective on held-out models over that"
    lab.measure("C2", pools["to-sample"].max(), at_most=0.95, what=f"{what} of the samples, worst seed")
    lab.measure("C2", pools["to-noise"].max(), at_most=1.0, what=f"{what} of noise of equal radius, worst seed")
    apart = pools["apart"].min()
    lab.measure("C2", apart, at_least=0.2, what=f"{kind}: mean distance between canaries of a sample, in radii")


def measure_online(lab: Lab, kind: str, pools: Grid) -> None:
    """C1 and C3 where shadow models saw the samples."""
    bar = 0.02 if kind == "convolution" else None
    shifted, single = "over as many shifted queries", "over the sample itself"
    lab.measure("C1", gain(pools, "canary", "shifted"), at_least=bar, what=f"{kind}: AUC gain of canaries {shifted}")
    tpr = gain(pools, "canary", "shifted", TPR)
    lab.measure("C1", tpr, at_least=bar, what=f"{kind}: gain in TPR at 1% FPR of canaries {shifted}")
    auc = gain(pools, "canary", "single")
    lab.measure("C3", auc, at_least=-0.003, what=f"{kind}: AUC gain of canaries {single} (no worse than 0.003)")
    tpr = gain(pools, "canary", "single", TPR)
    lab.measure("C3", tpr, at_least=0.0, what=f"{kind}: gain in TPR at 1% FPR of canaries {single}")


def measure_offline(lab: Lab, kind: str, pools: Grid) -> None:
    """C3 and C4 where no shadow model saw the samples."""
    canary, shifted, single = (f"offline {name}" for name in ("canary", "shifted", "single"))
    what = f"{kind}: offline AUC gain of"
    auc = gain(pools, canary, single)
    lab.measure("C3", auc, at_least=-0.01, what=f"{what} canaries over the sample itself (no worse than 0.01)")
    auc, bar = gain(pools, canary, shifted), 0.02 if kind == "convolution" else None
    lab.measure("C3", auc, at_least=bar, what=f"{what} canaries over as many shifted queries")
    auc = gain(pools, single, f"{single}, two tails")
    lab.measure("C4", auc, at_least=0.08, what=f"{what} one tail over two")


AUC, TPR = "AUC", "TPR at 1% FPR"


def gain(pools: Grid, attack: str, baseline: str, figure: str = AUC) -> np.ndarray:
    """Return what one attack gains over another, seed by seed."""
    return pools[f"{attack}: {figure}"] - pools[f"{baseline}: {figure}"]


def attack_rows(kind: str, pools: Grid) -> list[dict[str, str]]:
    """Return one row an attack, with 95% intervals over the target models."""
    reports = {name: over_targets(pools, name) for name in SCORES}
    return [
        {
            "network": kind,
            "attack": name,
            "AUC": str(report.auc),
            "TPR at 1% FPR": str(report.tpr_at_fpr[0.01]),
            "TPR at 0.1% FPR": str(report.tpr_at_fpr[0.001]),
        }
        for name, report in reports.items()
    ]
