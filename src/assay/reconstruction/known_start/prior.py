"""Prior of samples by direction of the data's span, from other inputs of the kind or from the displacement itself."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError
from assay.reconstruction.known_start.displacement import Displacement

NARROWEST = 1e-3
"""Least spread of a direction, relative to the widest."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Hold where samples may lie, by direction of the data's span.

    Attributes:
        mean: Mean of samples in each direction.
        spread: Their standard deviation.
    """

    mean: Float[Tensor, " r"]
    spread: Float[Tensor, " r"]


def population_prior(population: Float[Tensor, "n ..."], moved: Displacement) -> Prior:
    """Return the mean and the spread of other inputs in each direction.

    Args:
        population: Inputs of the first layer.
        moved: Displacement of that layer.

    Raises:
        InvalidInputError: They are not of the layer's size, fewer than two, or all alike.

    >>> moved = Displacement(1.0, 1.0, 99.0, torch.ones(1), 0.0, 1, torch.eye(3)[:1].double())
    >>> population_prior(torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]]), moved).mean.tolist()
    [2.0]
    """
    flat, size = population.flatten(1).double(), moved.basis.shape[1]
    spread = flat @ moved.basis.T if flat.shape[1] == size else flat
    spread = spread.std(0) if len(flat) > 1 else torch.zeros(1)
    if flat.shape[1] != size or float(spread.max()) <= 1e-9 * float(flat.abs().max()):
        raise InvalidInputError(
            f"population must be two or more inputs of the first layer, {size} numbers each and not all alike, got "
            f"shape {tuple(population.shape)}; pass other inputs of the kind, or None"
        )
    return Prior((flat @ moved.basis.T).mean(0), spread.clamp_min(NARROWEST * float(spread.max())))


def displacement_prior(weight: Float[Tensor, "h d"], bias: Float[Tensor, " h"] | None, moved: Displacement) -> Prior:
    r"""Guess the mean and the spread of the samples in each direction from the displacement of the first layer.

    Row j of its weight is displaced by $\sum_i a_{ji} x_i$, and its bias by $\sum_i a_{ji}$: the regression of one on
    the other is an estimate of the mean, and what it leaves, relative to the bias, one of the spread. Without a bias
    the scale of samples is not known, and their mean is taken to be zero.

    Args:
        weight: What training added to the weight of the first layer.
        bias: What it added to the bias, if there is one.
        moved: Displacement of that layer.

    >>> moved = Displacement(1.0, 1.0, 99.0, torch.ones(1), 0.0, 1, torch.eye(2)[:1].double())
    >>> displacement_prior(torch.tensor([[6.0, 0.0], [3.0, 0.0]]), torch.tensor([2.0, 1.0]), moved).mean.tolist()
    [3.0]
    """
    added = weight.double() @ moved.basis.T
    energy = 0.0 if bias is None else float(bias.double().square().sum())
    if bias is None or not energy:
        mean, spread = torch.zeros_like(added[0]), added.norm(dim=0) / added.norm()
    else:
        mean = added.T @ bias.double() / energy
        spread = (added - bias.double()[:, None] * mean).norm(dim=0) / energy**0.5
    return Prior(mean, spread.clamp_min(max(NARROWEST * float(spread.max()), torch.finfo(torch.float32).tiny)))
