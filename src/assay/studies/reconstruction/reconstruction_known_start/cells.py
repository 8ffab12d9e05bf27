"""Attacks on networks that the attacker knows nothing of but their weights and images of the kind."""

from typing import Any

import torch
from torch import Tensor

from assay.reconstruction import InitialState, KnownStartReconstructor, guess_initial_state, normalized_correlation
from assay.studies.reconstruction.reconstruction_known_start.networks import (
    ROWS,
    Row,
    Trained,
    build,
    own_seed,
    train_head,
    train_row,
)
from assay.studies.reconstruction.reconstruction_known_start.settings import Settings

SHOWN = 10
"""Images kept of each network."""
RANK_TOLERANCE = 1e-5
"""Size of a singular value, relative to the largest, above which it counts."""


def attack_row(settings: Settings, row: str, seed: int) -> dict[str, Any]:
    """Train a network of one kind, guess its seed, attack it from that start and from a wrong one."""
    trained = train_row(settings, ROWS[row], seed, n=settings.n)
    wrong = build(settings, ROWS[row], trained.x[0].numel(), own_seed(settings, seed) + 1)
    return attack(settings, trained, wrong.state_dict(), seed, base=ROWS[row].base)


def attack_head(settings: Settings, seed: int, pool: dict[str, Tensor]) -> dict[str, Any]:
    """Train a head on features, guess its seed, attack it from that start and from a wrong one."""
    trained = train_head(settings, seed, pool)
    wrong = build(settings, Row(), trained.x.shape[1], own_seed(settings, seed) + 1)
    return attack(settings, trained, wrong.state_dict(), seed, base=False)


def attack(settings: Settings, trained: Trained, wrong: dict[str, Tensor], seed: int, *, base: bool) -> dict[str, Any]:
    """Count the training images that come back, as many held-out images in their place, and what a wrong start gives.

    The start of a fine-tuned network is given. The mean of the population is taken out of images and candidates.
    """
    if base:
        guess = InitialState.from_checkpoint(trained.model, trained.start)
    else:
        guess = guess_initial_state(trained.model, seeds=range(settings.tried))
    options: dict[str, Any] = {
        "population": trained.population,
        "n_iter": settings.n_iter,
        "n_restarts": settings.n_restarts,
    }
    start = guess if guess.found else trained.start
    found = KnownStartReconstructor(start, **options).fit(trained.model)
    misled = KnownStartReconstructor(wrong, **options).fit(trained.model)
    x, held, mean = trained.x.flatten(1), trained.held.flatten(1), trained.population.mean(0).flatten()
    returned = found.reconstructions_.flatten(1)
    pool = torch.cat([found.pool_.flatten(1), returned])
    return {
        "start found": bool(guess.found and (base or guess.seed == own_seed(settings, seed))),
        "count exact": found.verdict_.n_samples == settings.n,
        "exact": found.n_exact_,
        "nothing claimed": found.verdict_.outcome == "nothing found" and found.verdict_.n_samples is None,
        **counts("candidates", x, pool, mean),
        **counts("reconstructions", x, returned, mean),
        **counts("held out, candidates", held, pool, mean),
        **counts("held out, reconstructions", held, returned, mean),
        **counts("look-alikes", held, x, mean),
        **counts("wrong start", x, misled.pool_.flatten(1), mean),
        **shown(trained, returned, mean),
    }


def counts(name: str, x: Tensor, candidates: Tensor, mean: Tensor) -> dict[str, int]:
    """Return how many images some candidate matches above 0.9 and above 0.75."""
    best = best_match(x, candidates, mean)[0]
    return {f"{name} > {least}": int((best > least).sum()) for least in (0.9, 0.75)}


def best_match(x: Tensor, candidates: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's best correlation with a candidate, and which that is; -1 without candidates."""
    if not len(candidates):
        return torch.full((len(x),), -1.0), torch.zeros(len(x), dtype=torch.long)
    best, index = normalized_correlation(x - mean, candidates - mean).max(1)
    return best, index


def shown(trained: Trained, returned: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Return the first images of a network and what came back of each, scaled to [0, 1] alike."""
    x = trained.x[:SHOWN]
    ncc, index = best_match(x.flatten(1), returned, mean)
    back = returned[index].view_as(x) if len(returned) else torch.zeros_like(x)
    low, high = x.min(), x.max()
    return {"train": (x - low) / (high - low), "found": ((back - low) / (high - low)).clamp(0, 1), "ncc": ncc}


def displacement(settings: Settings, optimizer: str, n: int, seed: int) -> dict[str, float]:
    """Train on n digits, in [0, 1] and all in each step, and say what the first layer's displacement is like.

    Its rows are naive candidates: each row of SGD's is a sum of the samples that activate one unit.
    """
    row = Row(optimizer="Adam", lr=1e-3) if optimizer == "Adam" else Row()
    trained = train_row(settings, row, seed, n=n)
    moved = (trained.model.state_dict()["1.weight"] - trained.start["1.weight"]).double()
    values = torch.linalg.svdvals(moved)
    basis = torch.linalg.qr(trained.x.flatten(1).double().T).Q
    outside = moved - moved @ basis @ basis.T
    mean = trained.population.mean(0).flatten()
    rows = torch.cat([moved, -moved]).to(trained.x) + mean
    # Sizes of entries against their row's largest: steps of Adam are about as long for all.
    sizes = moved.abs() / moved.abs().amax(1, keepdim=True).clamp_min(1e-12)
    learned = sizes[:, trained.x.flatten(1).amax(0) > 0]
    return {
        "rank": int((values > RANK_TOLERANCE * values[0]).sum()),
        "share outside": float(outside.norm() ** 2 / moved.norm() ** 2),
        "directions of 99%": int((values.square().cumsum(0) < 0.99 * values.square().sum()).sum()) + 1,
        "median entry": float(learned.median()),
        **counts("rows", trained.x.flatten(1), rows, mean),
        **counts("held out, rows", trained.held.flatten(1), rows, mean),
        **counts("look-alikes", trained.held.flatten(1), trained.x.flatten(1), mean),
    }
