"""Attack on the networks of one kind: training, search in cells of a few restarts, and scores of the pool."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.core import Parameters
from assay.lab import Lab
from assay.reconstruction import (
    ConsensusSelector,
    KKTReconstructor,
    ReconstructionScore,
    normalized_correlation,
    oracle_multipliers,
    score_reconstructions,
)
from assay.reconstruction.kkt import (
    CONSENSUS_DISTANCE,
    Objective,
)
from assay.studies.reconstruction.shared.victims import Trained, Victim, load_trained, train

SHOWN = 10
"""Images kept per network."""

MOST_GRADIENTS = 50_000_000
"""Largest number of entries of all per-sample gradients for which the multipliers of the true images are fitted."""


@dataclass(frozen=True)
class Limits:
    """Effort of the attack on each network.

    Attributes:
        n_restarts: Searches of each network.
        restarts_at_once: Searches of one cell: an interrupted run repeats at most one cell.
        max_iter: Steps of each search.
        batch_size: Candidates of each search processed at once; all when None.
    """

    n_restarts: int
    restarts_at_once: int
    max_iter: int
    batch_size: int | None


@dataclass(frozen=True)
class Training:
    """One network: its kind, the seed of its data and initial weights, and the device."""

    victim: Victim
    seed: int
    device: str


@dataclass(frozen=True)
class Search:
    """Restarts of one cell on one trained network; `draw` is the index of the cell."""

    training: Training
    weights: Parameters
    limits: Limits
    draw: int

    @property
    def n_restarts(self) -> int:
        """Restarts of this cell; the last cell of a network takes the remainder."""
        return min(self.limits.restarts_at_once, self.limits.n_restarts - self.draw * self.limits.restarts_at_once)


@dataclass(frozen=True)
class Findings:
    """Results of all searches of one network."""

    training: Training
    weights: Parameters
    searches: Sequence[dict[str, Tensor]]


def attack_networks(lab: Lab, name: str, victim: Victim, seeds: Sequence[int], limits: Limits) -> list[dict]:
    """Train a network for each seed, attack it, and return counts, nulls and the best images."""
    trainings = [Training(victim, seed, str(lab.device)) for seed in seeds]
    weights = lab.map(trained_weights, trainings, name=f"{name}-training")
    draws = range(-(-limits.n_restarts // limits.restarts_at_once))
    pairs = list(zip(trainings, weights, strict=True))
    searches = [Search(*pair, limits, draw) for pair in pairs for draw in draws]
    found = lab.map(search, searches, name=f"{name}-search")
    parts = [found[start : start + len(draws)] for start in range(0, len(found), len(draws))]
    findings = [Findings(*pair, part) for pair, part in zip(pairs, parts, strict=True)]
    return lab.map(score, findings, name=f"{name}-score")


def trained_weights(cell: Training) -> Parameters:
    """Train one network."""
    return dict(train(cell.victim, cell.seed, cell.device).model.state_dict())


def search(cell: Search) -> dict[str, Tensor]:
    """Search one network with the default settings, and return all candidates in coordinates of their span."""
    trained = load_trained(cell.training.victim, cell.training.seed, cell.weights, cell.training.device)
    options = {"n_iter": cell.limits.max_iter, "batch_size": cell.limits.batch_size, "random_state": cell.draw}
    begin = time.process_time()
    found = KKTReconstructor(objective_of(cell.training.victim), n_restarts=cell.n_restarts, **options)
    found.fit(trained.model)
    seconds = time.process_time() - begin
    candidates = len(found.pool_) // cell.n_restarts
    restarts = torch.arange(cell.n_restarts).repeat_interleave(candidates)
    return {
        "pool": in_span(found.pool_, found),
        "multipliers": found.pool_multipliers_,
        "labels": torch.as_tensor(found.pool_labels_),
        "restarts": restarts + cell.draw * cell.limits.restarts_at_once,
        "basis": torch.as_tensor(found.basis_),
        "seconds": torch.tensor(seconds, dtype=torch.float64),
    }


def in_span(samples: Tensor, found: KKTReconstructor) -> Tensor:
    """Return samples in coordinates of the basis, which is exact and saves storage."""
    return samples.flatten(1) @ torch.as_tensor(found.basis_).T


def objective_of(victim: Victim) -> Objective:
    """Return the objective for networks of this kind."""
    return "binary" if victim.classes == 2 else "vector"


def score(cell: Findings) -> dict[str, Tensor]:
    """Pool the candidates of all searches of one network, select their consensus, and score both beside every null."""
    training = cell.training
    trained = load_trained(training.victim, training.seed, cell.weights, training.device)
    begin = time.process_time()
    names = ("pool", "multipliers", "labels", "restarts")
    pooled = {name: torch.cat([found[name] for found in cell.searches]) for name in names}
    selector = ConsensusSelector(CONSENSUS_DISTANCE).fit(
        pooled["pool"], pooled["restarts"], multipliers=pooled["multipliers"], classes=pooled["labels"]
    )
    seconds = time.process_time() - begin + sum(found["seconds"].item() for found in cell.searches)
    basis = cell.searches[0]["basis"]
    shape = trained.x.shape[1:]
    candidates = (pooled["pool"] @ basis).reshape(-1, *shape).to(trained.x)
    shortlist = selector.representatives_[: training.victim.n]
    shortlist = shortlist if len(shortlist) else torch.zeros(1, len(basis))  # without any agreement
    agreed = (shortlist @ basis).reshape(-1, *shape).to(trained.x)
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
        "n75": found.n75,
        "n90": found.n90,
        "half75": half.n75,
        "half90": half.n90,
        "chosen75": chosen.n75,
        "chosen90": chosen.n90,
        "precision": precision(trained, agreed),
        "pool_precision": precision(trained, candidates),
        "median": found.ncc.median(),
        **null_counts(found),
        "rank": len(basis),
        "seconds": seconds,
    }
    if training.victim.n * sum(weight.numel() for weight in trained.model.parameters()) <= MOST_GRADIENTS:
        inputs, objective = (trained.x - trained.mean).flatten(1), objective_of(training.victim)
        numbers["unexplained"] = oracle_multipliers(trained.model, inputs, trained.y, objective=objective)[1]
    best = found.ncc.argsort(descending=True)[:SHOWN]
    images = {"train": found.train_x[best] + found.mean, "found": found.rescaled()[best], "ncc": found.ncc[best]}
    return {name: torch.as_tensor(value, dtype=torch.float64).cpu() for name, value in {**numbers, **images}.items()}


def null_counts(found: ReconstructionScore) -> dict[str, int]:
    """Return the matches of every null, by correlation and by structural similarity."""
    nulls, ssim = found.nulls(), found.ssim_counts()
    return {
        "random": nulls["random"],
        "rows": nulls["rows"],
        "held_out": nulls["held out"],
        "ssim": ssim["recovered"],
        "ssim_random": ssim["random"],
        "ssim_rows": ssim["rows"],
        "ssim_held_out": ssim["held out"],
    }


def precision(trained: Trained, candidates: Tensor) -> Tensor:
    """Return the share of candidates with a correlation above 0.75 to some training image."""
    return (normalized_correlation(candidates, trained.x - trained.mean).amax(1) > 0.75).float().mean()
