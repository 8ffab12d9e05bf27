"""One network: trained, attacked with the objective of its loss, and scored beside its nulls."""

import time
from typing import Any

import torch
from torch import Tensor, nn

from assay.reconstruction import KKTReconstructor, score_reconstructions
from assay.reconstruction.kkt import merge_parallel_units
from assay.studies.reconstruction.reconstruction_general_losses.settings import Settings
from assay.studies.reconstruction.shared.attack import objective_of, recovered
from assay.studies.reconstruction.shared.victims import Trained, Victim, task, train


def attack(settings: Settings, victim: Victim, seed: int, *, device: str = "cpu") -> dict[str, Any]:
    """Train one network, attack it, and return counts, nulls and the images that came out best.

    Where multipliers have either sign, candidates and their nulls count with both signs. Convolutional networks are
    attacked with four candidates for each image, and have neither rows of a first dense layer nor parallel units.
    """
    trained = train(victim, seed, device)
    is_dense = not victim.channels
    effort: dict[str, Any] = {"n_restarts": settings.n_restarts, "n_iter": settings.max_iter}
    if not is_dense:
        effort = {"n_restarts": settings.convolution_restarts, "n_iter": settings.convolution_max_iter}
        effort["n_candidates"] = 4 * victim.n
    start = time.process_time()
    found = KKTReconstructor(objective_of(victim), input_shape=tuple(trained.x.shape[1:]), **effort).fit(trained.model)
    seconds = time.process_time() - start
    score = score_reconstructions(
        torch.cat([found.pool_, -found.pool_]) if found.labels_ is None else found.pool_,
        trained.x,
        mean=trained.mean,
        basis=found.basis_,
        first_layer=trained.model.get_parameter("0.weight") if is_dense else None,
        held_out_x=trained.others,
    )
    first_dense = next(layer for layer in trained.model if isinstance(layer, nn.Linear))
    medians = {"random": score.random_ncc, "held out": score.held_out_ncc}
    return {
        "rows": 0,
        **recovered(score),
        **{f"{null}: median NCC": ncc.median().item() for null, ncc in medians.items() if ncc is not None},
        "distinct units": merge_parallel_units(trained.model).widths[0] if is_dense else 0,
        "rank": found.rank_,
        "effective rank": effective_rank(first_dense.weight).item(),
        "gradient norm": gradient_norm(victim, trained).item(),
        "seconds": seconds,
    }


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
