"""Canary in a Coalmine: Better Membership Inference with Ensembled Adversarial Queries (Wen et al., 2023).

The paper attacks wide residual networks on CIFAR with 64 shadow models. Here pools of a few hundred Fashion-MNIST
images train small convolution networks and perceptrons to nearly 100% on their half; target models, shadow models and
the models on which canaries are judged before the attack are trained on halves drawn apart. Radius of the canaries and
size of the networks come from trials on other pools, the scores aimed at from the shadow models. Every attack on a
target uses the same shadow models and as many queries; "shifted" is LiRA's own way to spend them.

Verdicts compare seeds (each a pool with networks of its own), for target models of one seed share their shadows.

Found at `small`: canaries are what they were optimised to be on models that made none of them, and beat as many shifted
queries by far, which are off these networks' training distribution. Beside the sample itself, the better baseline
here, they gain a few thousandths of AUC on both kinds of network and nothing that five seeds can tell from zero in
true positives at 1% false ones; offline, where the paper's gain is largest, nothing either. A radius of 24/255 or more
made it worse in the trials.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from assay.core import seeded, spawn_seeds
from assay.data import available
from assay.lab import Lab, Paper, Study
from assay.privacy import CanaryAttack, DirectAttack, LiRA, MembershipAttack, MembershipReport, membership_metrics
from assay.studies.privacy.canary_membership.pools import Recipe, judge, train_pool

T = TypeVar("T")

KINDS = ("convolution", "perceptron")
ONLINE = ("single", "shifted", "canary")
SCORES = (*ONLINE, *(f"offline {name}" for name in ONLINE), "offline single, two tails")


@dataclass(frozen=True)
class Settings:
    """How many networks are trained on what, and how canaries are crafted.

    Radii are in 255ths of the input range, by kind of network: convolution, perceptron.
    """

    seeds: int = 5
    source: str = "fashion-mnist"
    pool: int = 300
    shadows: int = 32
    judges: int = 8
    targets: int = 12
    channels: tuple[int, ...] = (12, 24)
    hidden: int = 64
    epochs: tuple[int, int] = (30, 60)
    learning_rates: tuple[float, float] = (5e-3, 2e-3)
    batch_sizes: tuple[int, int] = (15, 25)
    n_queries: int = 5
    radii: tuple[float, float] = (8.0, 4.0)
    offline_radii: tuple[float, float] = (4.0, 4.0)
    steps: int = 20
    models_per_step: int = 4
    max_shift: int = 2


Cell = tuple[Settings, str, int]
"""Settings, kind of network, seed."""

STUDY = Study(
    slug="canary-membership",
    paper=Paper(
        "Canary in a Coalmine: Better Membership Inference with Ensembled Adversarial Queries",
        "Wen, Bansal, Kazemi, Borgnia, Goldblum, Geiping, Goldstein",
        2023,
        arxiv="2210.10750",
        venue="ICLR 2023",
    ),
    claims={
        "C1": "A sample itself and its simple augmentations are queries that carry little information",
        "C2": "Queries can be optimised to tell models that saw a sample from those that did not, and to differ",
        "C3": "They infer membership more accurately, most of all offline and at low false positive rates",
        "C4": "(ours) Offline, the one-tailed score is better than the two-tailed one of the paper's released code",
    },
    scales={
        "smoke": Settings(
            seeds=2,
            source="fashion",
            pool=60,
            shadows=8,
            judges=2,
            targets=3,
            channels=(4,),
            hidden=16,
            epochs=(4, 6),
            n_queries=2,
            steps=2,
            models_per_step=2,
        ),
        "small": Settings(),
        "paper": Settings(
            source="cifar10",
            pool=5000,
            shadows=64,
            channels=(64, 128, 256),
            hidden=512,
            epochs=(100, 100),
            batch_sizes=(256, 256),
            n_queries=10,
            radii=(1.0, 1.0),
            offline_radii=(1.0, 1.0),
            steps=30,
            models_per_step=2,
            max_shift=4,
        ),
    },
)


@STUDY.experiment
def run(settings: Settings, lab: Lab) -> None:
    """Attack both kinds of network on every seed, and compare the attacks at equal budgets."""
    settings = replace(settings, source=lab.cached("source", partial(available, settings.source)))
    seeds = spawn_seeds(lab.seed, settings.seeds)
    results = {kind: lab.map(attack, [(settings, kind, seed) for seed in seeds], name=kind) for kind in KINDS}
    for kind, cells in results.items():
        measure_queries(lab, kind, cells)
        measure_online(lab, kind, *rates(cells))
        measure_offline(lab, kind, *rates(cells))
        measure_control(lab, kind, cells)
        lab.figure(f"roc-{kind}", draw_roc(cells), caption=f"{kind.capitalize()}: {ROC_CAPTION}")
        lab.table(f"attacks-{kind}", rows(cells), caption=f"{kind.capitalize()}: {TABLE_CAPTION}")


# --- One pool, its networks, and every attack on them -------------------------------------------------------------


def attack(cell: Cell) -> dict[str, Tensor]:
    """Return every attack's scores on the targets of one pool, and what the canaries are like."""
    settings, kind, seed = cell
    pool_seed, craft_seed = spawn_seeds(seed, 2)
    counts = (settings.shadows, settings.judges, settings.targets)
    pool = train_pool(settings.source, settings.pool, counts, recipe(settings, kind), pool_seed)

    def score(attack: MembershipAttack, queries: Tensor | None = None) -> Tensor:
        source = seeded(craft_seed)
        return attack.score(pool.targets.models, pool.x, pool.y, queries=queries, generator=source)

    def direct(scorer: LiRA, n_queries: int) -> Tensor:
        return score(DirectAttack(pool.shadows, scorer, n_queries=n_queries, max_shift=settings.max_shift))

    canary = partial(
        CanaryAttack,
        n_queries=settings.n_queries,
        n_iter=settings.steps,
        models_per_step=settings.models_per_step,
        target_logits=None,
    )
    online = canary(pool.shadows, eps=by_kind(settings.radii, kind) / 255)
    offline = canary(pool.shadows, LiRA(online=False), eps=by_kind(settings.offline_radii, kind) / 255)
    queries = online.craft(pool.x, pool.y, generator=seeded(craft_seed))
    return {
        "members": pool.targets.membership,
        "single": direct(LiRA(), 1),
        "shifted": direct(LiRA(), settings.n_queries),
        "canary": score(online, queries),
        "offline single": direct(LiRA(online=False), 1),
        "offline shifted": direct(LiRA(online=False), settings.n_queries),
        "offline canary": score(offline),
        "offline single, two tails": direct(LiRA(online=False, tail="two"), 1),
        "accuracy": torch.tensor([pool.targets_accuracy(members=part) for part in (True, False)]),
        **judge(pool, online, queries, seeded(craft_seed)),
    }


def recipe(settings: Settings, kind: str) -> Recipe:
    """Return how networks of a kind are built and trained."""
    return Recipe(
        channels=settings.channels if kind == "convolution" else None,
        hidden=settings.hidden,
        epochs=by_kind(settings.epochs, kind),
        learning_rate=by_kind(settings.learning_rates, kind),
        batch_size=by_kind(settings.batch_sizes, kind),
    )


def by_kind(values: tuple[T, T], kind: str) -> T:
    """Return a setting's value for a kind of network."""
    return values[KINDS.index(kind)]


# --- The claims ----------------------------------------------------------------------------------------------------


Rates = dict[str, np.ndarray]
"""One figure for each attack and seed."""


def rates(cells: list[dict[str, Tensor]]) -> tuple[Rates, Rates]:
    """Return every attack's AUC, and its true positive rate at 1% false positives."""
    reports = {name: [membership_metrics(cell[name], cell["members"]) for cell in cells] for name in SCORES}
    aucs = {name: np.array([report.auc.mean for report in each]) for name, each in reports.items()}
    tprs = {name: np.array([report.tpr_at_fpr[0.01].mean for report in each]) for name, each in reports.items()}
    return aucs, tprs


def measure_queries(lab: Lab, kind: str, cells: list[dict[str, Tensor]]) -> None:
    """C2: canaries on models that had no part in crafting them, the worst seed counting."""
    largest = {name: max(float(cell[name]) for cell in cells) for name in ("to-sample", "to-noise")}
    what = f"{kind}: objective on held-out models, worst seed, as a share of that"
    lab.measure("C2", largest["to-sample"], at_most=0.95, what=f"{what} at the sample")
    lab.measure("C2", largest["to-noise"], at_most=1.0, what=f"{what} at random noise of the same radius")
    apart = min(float(cell["apart"]) for cell in cells)
    lab.measure("C2", apart, at_least=0.2, what=f"{kind}: mean distance of a sample's canaries in radii, worst seed")


def measure_online(lab: Lab, kind: str, auc: Rates, tpr: Rates) -> None:
    """C1 and C3 where shadow models saw the samples."""
    bar = 0.02 if kind == "convolution" else None
    lab.measure("C1", auc["shifted"] - auc["single"], what=f"{kind}: AUC gain of more, shifted queries")
    gain = auc["canary"] - auc["shifted"]
    lab.measure("C1", gain, at_least=bar, what=f"{kind}: AUC gain of canaries over as many shifted queries")
    lab.measure("C1", tpr["canary"] - tpr["shifted"], at_least=bar, what=f"{kind}: the gain in TPR at 1% FPR")
    gain = auc["canary"] - auc["single"]
    lab.measure("C3", gain, at_least=-0.003, what=f"{kind}: AUC gain of canaries over the sample itself")
    lab.measure("C3", tpr["canary"] - tpr["single"], at_least=0.0, what=f"{kind}: the gain in TPR at 1% FPR")


def measure_offline(lab: Lab, kind: str, auc: Rates, tpr: Rates) -> None:
    """C3 and C4 where no shadow model saw the samples."""
    bar = 0.02 if kind == "convolution" else None
    canary, shifted, single = (f"offline {name}" for name in ("canary", "shifted", "single"))
    gain = auc[canary] - auc[single]
    lab.measure("C3", gain, at_least=-0.01, what=f"{kind}: offline, AUC gain of canaries over the sample itself")
    lab.measure("C3", tpr[canary] - tpr[single], what=f"{kind}: offline, the gain in TPR at 1% FPR")
    gain = auc[canary] - auc[shifted]
    lab.measure("C3", gain, at_least=bar, what=f"{kind}: offline, AUC gain of canaries over as many shifted queries")
    lab.measure("C3", tpr[canary] - tpr[shifted], what=f"{kind}: offline, the gain over them in TPR at 1% FPR")
    gain = auc[single] - auc[f"{single}, two tails"]
    lab.measure("C4", gain, at_least=0.08, what=f"{kind}: offline, AUC gain of one tail over two")


def measure_control(lab: Lab, kind: str, cells: list[dict[str, Tensor]]) -> None:
    """C3: each sample scored against the membership of another sample, drawn apart, which says nothing about it."""
    foreign = [membership_metrics(cell["canary"], cell["members"].flip(1)).auc.mean for cell in cells]
    off = [abs(auc - 0.5) for auc in foreign]
    lab.measure("C3", off, at_most=0.05, what=f"{kind}: control, |AUC - 0.5| against membership of other samples")
    for place, part in enumerate(("members", "non-members")):
        shares = [float(cell["accuracy"][place]) for cell in cells]
        lab.measure("C3", shares, what=f"{kind}: targets' accuracy on their {part}")


# --- What is shown -------------------------------------------------------------------------------------------------

ROC_CAPTION = "members told from non-members, all target models of all seeds; both rates on logarithmic axes"
TABLE_CAPTION = "all target models of all seeds, with 95% intervals over the target models"


def over_all(cells: list[dict[str, Tensor]], name: str) -> MembershipReport:
    """Return one attack's figures over all targets of all seeds."""
    return membership_metrics(torch.cat([cell[name] for cell in cells]), torch.cat([cell["members"] for cell in cells]))


def draw_roc(cells: list[dict[str, Tensor]]) -> Figure:
    """Draw the online attacks beside each other."""
    figure, axes = plt.subplots()
    for name in ONLINE:
        curve = over_all(cells, name).roc
        axes.step(curve.fpr, curve.tpr, where="post", label=name)
    axes.plot([1e-3, 1], [1e-3, 1], color="0.5", linestyle=":", label="chance")
    axes.set(xscale="log", yscale="log", xlim=(1e-3, 1), ylim=(1e-3, 1))
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.legend()
    return figure


def rows(cells: list[dict[str, Tensor]]) -> list[dict[str, str]]:
    """Return one row an attack."""
    reports = {name: over_all(cells, name) for name in SCORES}
    return [
        {
            "attack": name,
            "AUC": str(report.auc),
            "TPR at 1%": str(report.tpr_at_fpr[0.01]),
            "TPR at 0.1%": str(report.tpr_at_fpr[0.001]),
        }
        for name, report in reports.items()
    ]
