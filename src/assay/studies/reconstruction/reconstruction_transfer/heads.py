"""Heads trained on embeddings, and what an attack on one recovers."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import binary_cross_entropy, roc, seeded
from assay.nets import mlp
from assay.reconstruction import (
    ConsensusSelector,
    KKTReconstructor,
    predicted_multipliers,
    retrieval_audit,
    stationarity_residual,
    train_in_span,
)
from assay.reconstruction.kkt import merge_parallel_units
from assay.studies.reconstruction.reconstruction_transfer.pools import Pools
from assay.studies.reconstruction.reconstruction_transfer.settings import Settings

HEADS = ("images", "sentences")
"""Pools that heads are trained on."""

NORM = 10.0
"""Mean norm that embeddings are scaled to: about a centred MNIST digit's, for which the learning rate is known."""

WEIGHT_DECAY = 1e-3

THRESHOLD = 0.15
"""Cosine distance at which candidates still agree."""


@dataclass(frozen=True)
class Head:
    """A trained head with the space that it works in.

    Attributes:
        model: Takes embeddings less `mean`, times `scale`.
        members: Which of the pool it was trained on.
        others: As many that it was not trained on, of the same classes.
        inputs: The whole pool as the head takes it.
        mean: Mean embedding of the members.
        labels: Classes of the members.
    """

    model: nn.Sequential
    members: Tensor
    others: Tensor
    inputs: Tensor
    mean: Tensor
    labels: Tensor


def attack(settings: Settings, data: str, seed: int, *, pools: Pools) -> dict[str, Any]:
    """Train one head, attack it with the defaults, select without its training set, and score all of it."""
    x, y = pools[data]["x"], pools[data]["y"]
    head = train_head(settings, x, y, seed)
    found = KKTReconstructor(n_restarts=settings.n_restarts, n_iter=settings.max_iter).fit(head.model)
    pool, weights = found.pool_, found.pool_multipliers_
    runs = torch.arange(settings.n_restarts).repeat_interleave(len(pool) // settings.n_restarts)
    seen = head.inputs[head.members]
    selectors = {at: select(pool, runs, weights, at) for at in {THRESHOLD, *settings.thresholds}}
    selector = selectors[THRESHOLD]
    chosen = selector.representatives_[: settings.n]
    every_cluster = ConsensusSelector(THRESHOLD, min_runs=1).fit(pool, runs, multipliers=weights).representatives_
    basis = torch.eye(x.shape[1]) if found.basis_ is None else found.basis_
    random = torch.randn(len(pool), len(basis), generator=seeded(seed)) @ basis
    best = {
        "candidates": best_cosines(seen, pool),
        "random": best_cosines(seen, random),
        "held out": best_cosines(head.inputs[head.others], pool),
        "selected": best_cosines(seen, chosen),
    }
    return {
        **{f"{name} > {at}": int((cosines > at).sum()) for name, cosines in best.items() for at in (0.75, 0.9)},
        "weights left by candidates": float(found.residual_.mean()),
        "weights left by true embeddings": unexplained(head),
        "distinct units": merge_parallel_units(head.model).widths[0],
        "precision": precision(chosen, seen),
        "precision of all candidates": precision(pool, seen),
        "precision of all clusters": precision(every_cluster, seen),
        "denoised": denoised(selector, pool, seen),
        **look_up(head, chosen, basis, settings.n),
        **look_up_blindly(x, head.members, settings.n, seed),
        "by threshold": torch.stack([scores(selectors[at], seen) for at in settings.thresholds]),
        "selected": chosen,
        "members": head.members,
        "mean": head.mean,
    }


def train_head(settings: Settings, x: Tensor, y: Tensor, seed: int) -> Head:
    """Draw the members of a pool of embeddings, balanced over two classes, and train a head with one hidden layer."""
    n = settings.n
    mixed = torch.randperm(len(x), generator=seeded(seed))
    halves = [mixed[y[mixed] == label] for label in (0, 1)]
    seen = torch.cat([half[: n // 2] for half in halves])
    members, others = torch.zeros(2, len(x), dtype=torch.bool)
    members[seen] = True
    others[torch.cat([half[n // 2 : n] for half in halves])] = True
    mean = x[seen].mean(0)
    inputs = (x - mean) * NORM / (x[seen] - mean).norm(dim=1).mean()
    model = mlp((x.shape[1], settings.width, 1), bias="first", generator=seeded(seed)).double()
    options = {"loss": binary_cross_entropy, "weight_decay": WEIGHT_DECAY, "n_iter": settings.steps}
    train_in_span(model, inputs[seen].double(), y[seen], **options)
    return Head(model.float(), members, others, inputs, mean, y[members])


def best_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return each row's best cosine with a row of `b`."""
    return (F.normalize(a) @ F.normalize(b).T).amax(1)


def select(pool: Tensor, runs: Tensor, multipliers: Tensor, threshold: float) -> ConsensusSelector:
    """Select by agreement of two runs; where no two agree, every cluster counts as selected."""
    selector = ConsensusSelector(threshold).fit(pool, runs, multipliers=multipliers)
    if not len(selector.sizes_):
        selector = ConsensusSelector(threshold, min_runs=1).fit(pool, runs, multipliers=multipliers)
    return selector


def precision(candidates: Tensor, seen: Tensor) -> float:
    """Return the share of candidates with cosine above 0.75 to some training embedding."""
    return float((best_cosines(candidates, seen) > 0.75).double().mean())


def scores(selector: ConsensusSelector, seen: Tensor) -> Tensor:
    """Return the precision of as many as were trained on, how many samples these recover, and how many there are."""
    chosen = selector.representatives_[: len(seen)]
    recovered = (best_cosines(seen, chosen) > 0.75).sum()
    return torch.tensor([precision(chosen, seen), recovered, len(selector.sizes_)])


def unexplained(head: Head) -> float:
    """Return what the true embeddings, with the multipliers that training should end in, leave of the weights."""
    seen = head.inputs[head.members]
    options = {"loss": binary_cross_entropy, "weight_decay": WEIGHT_DECAY}
    multipliers = predicted_multipliers(head.model, seen, head.labels, **options)
    return stationarity_residual(head.model, seen, multipliers, objective="regression").total_relative


def denoised(selector: ConsensusSelector, pool: Tensor, seen: Tensor) -> float:
    """Return how much nearer representatives are to a training embedding than their members, in the median."""
    gains = []
    for label, representative in enumerate(selector.representatives_):
        nearest = seen[torch.cosine_similarity(seen, representative[None]).argmax()][None]
        members = torch.cosine_similarity(pool[selector.labels_ == label], nearest)
        gains.append(torch.cosine_similarity(representative[None], nearest)[0] - members.median())
    return float(torch.stack(gains).mean())


def look_up(head: Head, chosen: Tensor, basis: Tensor, k: int) -> dict[str, Any]:
    """Retrieve from the pool, and tell members from the rest by their best cosine with what was selected.

    The naive leak beside it: how much of an embedding lies in the span of the first layer.
    """
    audit = retrieval_audit(chosen, head.inputs, head.members, k)
    nearness = best_cosines(head.inputs, chosen)
    inside = F.normalize(head.inputs).matmul(basis.T).norm(dim=1)
    curve = roc(nearness[head.members].tolist(), nearness[~head.members].tolist())
    naive = roc(inside[head.members].tolist(), inside[~head.members].tolist())
    return {
        "retrieved": audit.retrieved,
        "retrieval: precision": audit.precision,
        "retrieval: recall": audit.recall,
        "membership: AUC": curve.auc,
        "membership: TPR at 1% FPR": curve.tpr_at(0.01),
        "membership by span: AUC": naive.auc,
    }


def look_up_blindly(x: Tensor, members: Tensor, k: int, seed: int) -> dict[str, float]:
    """Retrieve by random directions in the span of the members, which the first layer tells without any search."""
    centred = x - x[members].mean(0)
    random = torch.randn(k, int(members.sum()), generator=seeded(seed)) @ centred[members]
    audit = retrieval_audit(random, centred, members, k)
    return {"retrieval by span: precision": audit.precision, "retrieval by span: recall": audit.recall}
