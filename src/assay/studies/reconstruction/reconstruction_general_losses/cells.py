"""One network of the study of general losses: trained, attacked with one objective, and scored beside its nulls."""

import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from assay.reconstruction import (
    KKTReconstructor,
    score_reconstructions,
)
from assay.reconstruction.kkt import (
    Objective,
    merge_parallel_units,
)
from assay.studies.reconstruction.shared.attack import SHOWN
from assay.studies.reconstruction.shared.victims import Trained, Victim, task, train


@dataclass(frozen=True)
class Attack:
    """What is attacked, how, and for how long; all that a cell depends on.

    Attributes:
        victim: Kind of network.
        objective: Which stationarity its weights are taken to satisfy.
        n_candidates: Candidates of each search.
        n_restarts: Searches.
        max_iter: Steps of each.
        seed: Of data and initial weights.
        device: Where training and attack compute.
    """

    victim: Victim
    objective: Objective
    n_candidates: int | Literal["auto"]
    n_restarts: int
    max_iter: int
    seed: int = 0
    device: str = "cpu"


def attack(cell: Attack) -> dict[str, Tensor]:
    """Train one network, attack it, and return counts, nulls and the images that came out best.

    Where multipliers have either sign, candidates and their nulls count with both signs.
    """
    trained = train(cell.victim, cell.seed, cell.device)
    start = time.process_time()
    found = KKTReconstructor(
        cell.objective,
        n_candidates=cell.n_candidates,
        n_restarts=cell.n_restarts,
        n_iter=cell.max_iter,
        input_shape=tuple(trained.x.shape[1:]),
    ).fit(trained.model)
    seconds = time.process_time() - start
    is_dense = not cell.victim.channels
    score = score_reconstructions(
        torch.cat([found.pool_, -found.pool_]) if found.labels_ is None else found.pool_,
        trained.x,
        mean=trained.mean,
        basis=found.basis_,
        first_layer=trained.model.get_parameter("0.weight") if is_dense else None,
        held_out_x=trained.others,
    )
    numbers = {
        "n75": score.n75,
        "n90": score.n90,
        "median": score.ncc.median(),
        "rows": score.nulls().get("rows", 0),
        "distinct": merge_parallel_units(trained.model).widths[0] if is_dense else 0,
        "rank": found.rank_,
        "effective_rank": effective_rank(next(layer for layer in trained.model if isinstance(layer, nn.Linear)).weight),
        "gradient_norm": gradient_norm(cell.victim, trained),
        "seconds": seconds,
    }
    for name, null in (("random", score.random_ncc), ("held_out", score.held_out_ncc)):
        if null is not None:
            numbers |= {name: (null > 0.75).sum(), f"{name}_median": null.median()}
    best = score.ncc.argsort(descending=True)[:SHOWN]
    images = {"train": score.train_x[best] + score.mean, "found": score.rescaled()[best], "ncc": score.ncc[best]}
    return {name: torch.as_tensor(value, dtype=torch.float64).cpu() for name, value in {**numbers, **images}.items()}


def effective_rank(weight: Tensor) -> Tensor:
    r"""Return $\exp(-\sum_k p_k \log p_k)$, $p_k$ the singular values divided by their sum."""
    shares = torch.linalg.svdvals(weight.detach())
    return torch.distributions.Categorical(probs=shares).entropy().exp()


def gradient_norm(victim: Victim, trained: Trained) -> Tensor:
    """Return the norm of the gradient of loss and weight decay at which training ended."""
    inputs = trained.x - trained.mean
    loss, targets = task(victim, trained.y)
    weights = list(trained.model.parameters())
    value = loss(trained.model(inputs if victim.channels else inputs.flatten(1)), targets)
    decayed = value + victim.weight_decay / 2 * sum(weight.square().sum() for weight in weights)
    return torch.cat([slope.flatten() for slope in torch.autograd.grad(decayed, weights)]).norm()
