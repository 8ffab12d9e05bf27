"""Results of a reconstruction: samples that exact equations determine, before what a search has found."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, seeded
from assay.reconstruction import KKTReconstructor, exact_samples
from assay.reconstruction.kkt import plain_copy

_COPY = 0.9  # cosine from which a candidate stands for the same sample


@dataclass(frozen=True, eq=False)
class Recovered:
    """Hold a finished search and the samples that exact equations determine.

    Attributes:
        attack: The search.
        exact: Samples by exact equations.
        agreed: These, then the reconstructions of the search that are no copies of them.
        support: Restarts that found each of `agreed`; all for exact samples.
        cohesion: Agreement of the restarts on each of `agreed`, 1 for exact samples.
        pool: Exact samples and all candidates of the search.
    """

    attack: KKTReconstructor
    exact: Float[Tensor, "e ..."]
    agreed: Float[Tensor, "k ..."]
    support: Int[Tensor, " k"]
    cohesion: Float[Tensor, " k"]
    pool: Float[Tensor, "m ..."]


def lead_by_exact(attack: KKTReconstructor, model: nn.Module, *, seed: int) -> Recovered:
    """Put the samples that exact equations determine before those of a search, where the network has such equations.

    Args:
        attack: A finished search.
        model: The network that was searched.
        seed: Seed of the directions from which the equations are solved.
    """
    found, labels = attack.reconstructions_, attack.labels_
    exact, classes = _exact(attack, model, seed)
    exact = exact.to(found).reshape(len(exact), *found.shape[1:])
    rest = torch.ones(len(found), dtype=torch.bool, device=found.device)
    if len(exact) and labels is not None:
        cosines = nn.functional.normalize(found.flatten(1)) @ nn.functional.normalize(exact.flatten(1)).T
        rest = ~((cosines > _COPY) & (labels[:, None] == classes.to(labels))).any(1)
    return Recovered(
        attack,
        exact,
        torch.cat([exact, found[rest]]),
        torch.cat([attack.support_.new_full((len(exact),), attack.n_restarts), attack.support_[rest]]),
        torch.cat([attack.cohesion_.new_ones(len(exact)), attack.cohesion_[rest]]),
        torch.cat([exact, attack.pool_]),
    )


def _exact(attack: KKTReconstructor, model: nn.Module, seed: int) -> tuple[Tensor, Tensor]:
    """Return samples by exact equations and their classes; none where the weights are no sum of gradients."""
    none = attack.reconstructions_[:0], torch.zeros(0, dtype=torch.long)
    verdict = attack.verdict_
    if attack.objective_ != "binary" or verdict.outcome == "nothing found" or verdict.left_out:
        return none
    try:
        found = exact_samples(plain_copy(model)[0], input_shape=attack.input_shape, generator=seeded(seed))
    except InvalidInputError:  # it has another form than one hidden layer of ReLUs
        return none
    return found.samples, found.labels
