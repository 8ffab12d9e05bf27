"""Training of one network, restarts of the attack on it, and scores of all that they found."""

import time
from typing import Any

import torch
from torch import Tensor

from assay.core import Parameters
from assay.reconstruction import (
    ConsensusSelector,
    KKTReconstructor,
    normalized_correlation,
    oracle_multipliers,
    score_reconstructions,
)
from assay.reconstruction.kkt import CONSENSUS_DISTANCE
from assay.studies.reconstruction.reconstruction_multiclass.networks import Kind
from assay.studies.reconstruction.reconstruction_multiclass.settings import Settings
from assay.studies.reconstruction.shared.attack import objective_of, recovered
from assay.studies.reconstruction.shared.victims import Trained, load_trained, train

MOST_GRADIENTS = 50_000_000
"""Largest number of entries of all per-sample gradients for which the multipliers of the true images are fitted."""


def train_network(settings: Settings, kind: Kind, seed: int, *, device: str = "cpu") -> Parameters:
    """Train one network, and return its weights."""
    return dict(train(kind.victim, seed, device).model.state_dict())


def search(
    settings: Settings, kind: Kind, seed: int, weights: Parameters, *, draw: int, device: str = "cpu"
) -> dict[str, Any]:
    """Attack one network with some of its restarts, and return all candidates in coordinates of their span."""
    trained = load_trained(kind.victim, seed, weights, device)
    earlier = draw * settings.restarts_at_once
    n_restarts = min(settings.restarts_at_once, kind.n_restarts - earlier)
    options = {"n_iter": settings.max_iter, "batch_size": settings.batch_size, "random_state": draw}
    begin = time.process_time()
    found = KKTReconstructor(objective_of(kind.victim), n_restarts=n_restarts, **options).fit(trained.model)
    seconds = time.process_time() - begin
    basis = torch.as_tensor(found.basis_)
    return {
        "pool": found.pool_.flatten(1) @ basis.T,  # exact, and saves storage
        "multipliers": found.pool_multipliers_,
        "labels": torch.as_tensor(found.pool_labels_),
        "restarts": earlier + torch.arange(n_restarts).repeat_interleave(len(found.pool_) // n_restarts),
        "basis": basis,
        "seconds": seconds,
    }


def score(
    settings: Settings, kind: Kind, seed: int, attacked: dict[str, Any], *, device: str = "cpu"
) -> dict[str, Any]:
    """Pool the candidates of all restarts, select their consensus, and score both beside every null."""
    trained = load_trained(kind.victim, seed, attacked["weights"], device)
    searches, shape = attacked["searches"], trained.x.shape[1:]
    basis = searches[0]["basis"]
    begin = time.process_time()
    pool, multipliers, labels, restarts = (
        torch.cat([found[name] for found in searches]) for name in ("pool", "multipliers", "labels", "restarts")
    )
    selector = ConsensusSelector(CONSENSUS_DISTANCE).fit(pool, restarts, multipliers=multipliers, classes=labels)
    seconds = time.process_time() - begin + sum(found["seconds"] for found in searches)
    shortlist = selector.representatives_[: kind.victim.n]
    shortlist = shortlist if len(shortlist) else torch.zeros(1, len(basis))  # without any agreement
    candidates, agreed = ((samples @ basis).reshape(-1, *shape).to(trained.x) for samples in (pool, shortlist))
    options = {
        "mean": trained.mean,
        "basis": basis,
        "first_layer": trained.model.get_parameter("0.weight"),
        "held_out_x": trained.others,
    }
    found = score_reconstructions(candidates, trained.x, **options)
    chosen = score_reconstructions(agreed, trained.x, **options)
    half = score_reconstructions(candidates, trained.x, half_resolution=True, **options)
    numbers = {
        **recovered(found),
        "half resolution": half.n75,
        "agreed, NCC > 0.75": chosen.n75,
        "agreed, NCC > 0.9": chosen.n90,
        "agreed, precision": precision(trained, agreed),
        "precision": precision(trained, candidates),
        **{f"SSIM > 0.4: {name}": count for name, count in found.ssim_counts().items()},
        "rank": len(basis),
        "seconds": seconds,
    }
    if kind.victim.n * sum(weight.numel() for weight in trained.model.parameters()) <= MOST_GRADIENTS:
        inputs, objective = (trained.x - trained.mean).flatten(1), objective_of(kind.victim)
        _, numbers["unexplained"] = oracle_multipliers(trained.model, inputs, trained.y, objective=objective)
    return numbers


def precision(trained: Trained, candidates: Tensor) -> float:
    """Return the share of candidates with a correlation above 0.75 to some training image."""
    best = normalized_correlation(candidates, trained.x - trained.mean).amax(1)
    return (best > 0.75).float().mean().item()
