"""Every attack on the target networks of one pool, and the quality of the canaries."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.core import seeded, spawn_seeds
from assay.lab import Grid
from assay.privacy import CanaryAttack, DirectAttack, LiRA, MembershipAttack, MembershipReport, membership_metrics
from assay.studies.privacy.canary_membership.pools import judge, train_pool
from assay.studies.privacy.canary_membership.settings import Kind, Settings

KINDS = ("convolution", "perceptron")
ONLINE = ("single", "shifted", "canary")
SCORES = (*ONLINE, *(f"offline {name}" for name in ONLINE), "offline single, two tails")


def attack(settings: Settings, kind: str, seed: int) -> dict[str, Any]:
    """Score the samples of one pool under every attack, and compare the canaries with the samples and with noise."""
    pool_seed, craft_seed = spawn_seeds(seed, 2)
    network: Kind = getattr(settings, kind)
    pool = train_pool(settings, network.recipe, pool_seed)

    def score(attack: MembershipAttack, queries: Tensor | None = None) -> Tensor:
        return attack.score(pool.targets.models, pool.x, pool.y, queries=queries, generator=seeded(craft_seed))

    def direct(scorer: LiRA, n_queries: int) -> Tensor:
        return score(DirectAttack(pool.shadows, scorer, n_queries=n_queries, max_shift=settings.max_shift))

    canary = partial(
        CanaryAttack,
        n_queries=settings.n_queries,
        n_iter=settings.steps,
        models_per_step=settings.models_per_step,
        target_logits=None,
    )
    online = canary(pool.shadows, eps=network.radius / 255)
    offline = canary(pool.shadows, LiRA(online=False), eps=network.offline_radius / 255)
    queries = online.craft(pool.x, pool.y, generator=seeded(craft_seed))
    scores = {
        "single": direct(LiRA(), 1),
        "shifted": direct(LiRA(), settings.n_queries),
        "canary": score(online, queries),
        "offline single": direct(LiRA(online=False), 1),
        "offline shifted": direct(LiRA(online=False), settings.n_queries),
        "offline canary": score(offline),
        "offline single, two tails": direct(LiRA(online=False, tail="two"), 1),
    }
    members = pool.targets.membership
    reports = {name: membership_metrics(values, members) for name, values in scores.items()}
    # Each sample against the membership of another one, drawn apart, which says nothing about it.
    control = membership_metrics(scores["canary"], members.flip(1))
    return {
        **scores,
        "members": members,
        **{f"{name}: AUC": report.auc.mean for name, report in reports.items()},
        **{f"{name}: TPR at 1% FPR": report.tpr_at_fpr[0.01].mean for name, report in reports.items()},
        "control: AUC": control.auc.mean,
        "accuracy on members": pool.targets_accuracy(members=True),
        "accuracy on non-members": pool.targets_accuracy(members=False),
        **judge(pool, online, queries, seeded(craft_seed)),
    }


def over_targets(pools: Grid, name: str) -> MembershipReport:
    """Return the figures of one attack over all targets of all seeds."""
    scores, members = (torch.as_tensor(pools[key]).flatten(0, 1) for key in (name, "members"))
    return membership_metrics(scores, members)
