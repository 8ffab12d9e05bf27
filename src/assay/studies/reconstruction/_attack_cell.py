"""One network of a study: trained, attacked with the defaults, and scored beside every null."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.reconstruction import (
    KKTReconstructor,
    ReconstructionScore,
    normalized_correlation,
    oracle_multipliers,
    score_reconstructions,
)
from assay.studies.reconstruction._victims import Trained, Victim, train

SHOWN = 10
"""Images kept of each network."""

MOST_GRADIENTS = 50_000_000
"""Entries of all per-sample gradients up to which the true images' multipliers are fitted."""


@dataclass(frozen=True)
class Attack:
    """What is attacked, and for how long; all that a cell depends on.

    Attributes:
        victim: Kind of network.
        seed: Of its data and initial weights.
        n_restarts: Searches.
        max_iter: Steps of each.
        batch_size: Candidates of each search worked on at once; all when None.
        device: Where training and attack compute.
    """

    victim: Victim
    seed: int
    n_restarts: int
    max_iter: int
    batch_size: int | None
    device: str


def attack(cell: Attack) -> dict[str, Tensor]:
    """Train one network, attack it, and return counts, nulls and the images that came out best."""
    trained = train(cell.victim, cell.seed, cell.device)
    objective = "binary" if cell.victim.classes == 2 else "vector"
    options = {"n_restarts": cell.n_restarts, "max_iter": cell.max_iter, "batch_size": cell.batch_size}
    start = time.process_time()
    found = KKTReconstructor(objective, input_shape=tuple(trained.x.shape[1:]), **options).fit(trained.model)
    seconds = time.process_time() - start
    pool = scored(trained, found.candidates_, found)
    chosen = scored(trained, found.reconstructions_[: cell.victim.n], found)
    half = scored(trained, found.candidates_, found, half_resolution=True)
    nulls, ssim = pool.nulls(), pool.ssim_counts()
    numbers = {
        "n75": pool.n75,
        "n90": pool.n90,
        "half75": half.n75,
        "half90": half.n90,
        "chosen75": chosen.n75,
        "chosen90": chosen.n90,
        "precision": precision(trained, found.reconstructions_[: cell.victim.n]),
        "pool_precision": precision(trained, found.candidates_),
        "median": pool.ncc.median(),
        "random": nulls["random"],
        "rows": nulls["rows"],
        "held_out": nulls["held out"],
        "ssim": ssim["recovered"],
        "ssim_random": ssim["random"],
        "ssim_rows": ssim["rows"],
        "ssim_held_out": ssim["held out"],
        "rank": found.rank_,
        "seconds": seconds,
    }
    if cell.victim.n * sum(weight.numel() for weight in trained.model.parameters()) <= MOST_GRADIENTS:
        inputs = (trained.x - trained.mean).flatten(1)
        numbers["unexplained"] = oracle_multipliers(trained.model, inputs, trained.y, objective=objective)[1]
    best = pool.ncc.argsort(descending=True)[:SHOWN]
    images = {"train": pool.train_x[best] + pool.mean, "found": pool.rescaled()[best], "ncc": pool.ncc[best]}
    return {name: torch.as_tensor(value, dtype=torch.float64).cpu() for name, value in {**numbers, **images}.items()}


def scored(
    trained: Trained, candidates: Tensor, found: KKTReconstructor, half_resolution: bool = False
) -> ReconstructionScore:
    """Score candidates against the training images, beside every null."""
    return score_reconstructions(
        candidates,
        trained.x,
        mean=trained.mean,
        basis=found.basis_,
        first_layer=trained.model.get_parameter("0.weight"),
        held_out_x=trained.others,
        half_resolution=half_resolution,
    )


def precision(trained: Trained, candidates: Tensor) -> Tensor:
    """Return the share of candidates that correlate with some training image by more than 0.75."""
    return (normalized_correlation(candidates, trained.x - trained.mean).amax(1) > 0.75).float().mean()
