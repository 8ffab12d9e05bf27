"""Samples without error, or candidates corrected, from directions of single samples in a first layer's displacement."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import seeded
from assay.reconstruction.known_start.inactive_units import UnitRows, certified, sparse_directions, unmixed

N_INACTIVE = (1.2, 1.5, 2.0, 3.0, 4.0)
"""Units that are taken for inactive on a candidate, those with the least activations, for each coordinate."""

N_ROUNDS, AT_ONCE = 12, 100
"""Rounds at most, each with the candidates corrected by what the last has found; candidates in one batch."""

PATIENCE = 2
"""Rounds that end with a direction for each sample, but with no more that agree than before, until the last."""

OWN = 2.0
"""Least ratio of a candidate's part in one sample's direction to its parts in all others, for it to stand for that
sample."""

AGREES, LEAST_MEDIAN = 0.75, 2 / 3
"""Least agreement of a direction with its sample, relative to the median, and the median below which all are relative
to this instead: units that leak, or the wrong activation, leave zeros that no set of samples explains."""


@dataclass(frozen=True, eq=False)
class ExactSamples:
    """Hold what directions of single samples tell.

    Attributes:
        n_found: Samples that are solved for and agree with their direction; 0 until all directions are known.
        samples: All samples in coordinates of the span, if the direction of each is known; else None.
        agreement: How well the zeros of each sample's direction match the units that the sample leaves inactive on the
            straight path from start to end, relative to the median sample, or to 2/3 if that is more; at most 1.
        candidates: The candidates, corrected by the directions that are known.
    """

    n_found: int
    samples: Float[Tensor, "n r"] | None
    agreement: Float[Tensor, " n"] | None
    candidates: Float[Tensor, "m r"]


def exact_samples(units: UnitRows, candidates: Float[Tensor, "m r"], *, seed: int) -> ExactSamples:
    r"""Find the directions of single samples from candidates, and correct the candidates by them.

    A candidate need only tell some dozens of units that its sample never activates. The direction $p_i$ that is zero on
    these is certified by the zeros it has on others. Sample k has no part in it for k other than i: the known
    directions correct all candidates, from which more are found. Once there are as many as samples, the samples are the
    rows of the inverse of the matrix of directions. The displacement of the biases gives their scale: it is the sum of
    $A_{\cdot i}$.

    Cost: time O(rounds * m * (h r + r^3)), memory O(batch * h r).

    Args:
        units: The displacement by unit.
        candidates: Candidates in coordinates of the span.
        seed: Seed of the draws from the prior that are tried beside the candidates.
    """
    size, plane, source = len(units.values), _plane(units), seeded(seed)
    known, samples, agreement = units.rows.new_zeros(0, size), None, None
    tried, most, waited = candidates, 0, 0
    for _ in range(N_ROUNDS):
        before = _n_zero(units, known)
        known = _search(units, known, tried)
        if len(known) < size and _n_zero(units, known) == before:
            break
        if len(known) == size:
            samples = _solved(units, known, plane, candidates)
            sure = _agreement(units, known, samples) > AGREES
            known = unmixed(units, known, (units.largest_activation(samples) <= 0) & sure[:, None])
            samples = _solved(units, known, plane, candidates)
            agreement = _agreement(units, known, samples)
            n_sure = int((agreement > AGREES).sum())
            waited = 0 if n_sure > most else waited + 1
            most = max(n_sure, most)
            if n_sure == size or waited == PATIENCE:
                break
            known = known[agreement > AGREES]
            if not len(known):
                return ExactSamples(0, None, None, candidates)
        drawn = torch.randn(2 * size, size, generator=source).to(candidates)
        drawn = units.prior.mean.to(drawn) + units.prior.spread.to(drawn) * drawn
        free = torch.cat([candidates[~owners(units, known, candidates).any(1)], drawn])
        tried = corrected(units, known, free, plane, torch.zeros(len(free), len(known), dtype=torch.bool))
        tried = tried if samples is None else torch.cat([samples, tried])
    if samples is not None and agreement is not None:
        return ExactSamples(int((agreement > AGREES).sum()), samples, agreement, candidates)
    if len(known):
        candidates = corrected(units, known, candidates, plane, owners(units, known, candidates))
    return ExactSamples(0, None, None, candidates)


def _agreement(units: UnitRows, known: Tensor, samples: Tensor) -> Float[Tensor, " n"]:
    """Return how well zeros match the units that a sample leaves inactive on the straight path; 1 for a good median.

    Where one direction is a mixture, its zeros are too few, and the samples of its parts but one are wrong.
    """
    zero, inactive = units.is_zero(known), units.largest_activation(samples) <= 0
    shared = (zero & inactive).sum(1) / (zero | inactive).sum(1)
    return (shared / shared.median().clamp_min(LEAST_MEDIAN)).clamp_max(1)


def _search(units: UnitRows, known: Tensor, candidates: Tensor) -> Float[Tensor, "k r"]:
    """Return the directions known so far and those that candidates lead to."""
    order = units.largest_activation(candidates).argsort(dim=1)
    for ratio in N_INACTIVE:
        size = int(ratio * len(units.values))
        if size <= order.shape[1]:
            new = torch.cat([sparse_directions(units, some, size) for some in order.split(AT_ONCE)])
            known = certified(units, known, new, order)
    return known


def _n_zero(units: UnitRows, known: Tensor) -> int:
    return int(units.is_zero(known).sum()) if len(known) else 0


def _plane(units: UnitRows) -> Float[Tensor, " r"] | None:
    """Return q with q . c = 1 for every sample c; None without biases."""
    if units.added is None:
        return None
    weight, bias = units.added
    return torch.linalg.lstsq(weight / units.values, bias[:, None]).solution[:, 0] / units.values


def _solved(units: UnitRows, known: Tensor, plane: Tensor | None, candidates: Tensor) -> Float[Tensor, "n r"]:
    """Return the samples to which all others' directions are orthogonal, in the scale of the biases or candidates."""
    samples = torch.linalg.inv(known / units.values).T
    if plane is not None:
        return samples / (samples @ plane)[:, None]
    own = candidates[owners(units, known, candidates).to(candidates).argmax(0)]
    return samples * ((samples * own).sum(1) / samples.square().sum(1))[:, None]


def _parts(units: UnitRows, known: Tensor, candidates: Tensor) -> Float[Tensor, "m k"]:
    """Return each candidate's part in each direction, in units of the prior's spread."""
    directions = known / units.values
    return candidates @ (directions / (directions * units.prior.spread).norm(dim=1, keepdim=True)).T


def owners(units: UnitRows, known: Tensor, candidates: Tensor) -> Tensor:
    """Tell for which known direction's sample each candidate stands, if any: `(m, k)`."""
    parts = _parts(units, known, candidates).abs()
    largest, which = parts.max(1)
    others = (parts.square().sum(1) - largest.square()).clamp_min(0).sqrt()
    owner = torch.nn.functional.one_hot(which, len(known)).bool()
    return owner & (largest > OWN * others)[:, None]


def corrected(
    units: UnitRows, known: Tensor, candidates: Tensor, plane: Tensor | None, own: Tensor
) -> Float[Tensor, "m r"]:
    """Move candidates, by as little as the prior's spread allows, to where other samples' directions have no part."""
    spread = units.prior.spread.to(candidates)
    rows, better = known / units.values * spread, candidates.clone()
    rows = torch.nn.functional.normalize(rows, dim=1)
    for pattern in own.unique(dim=0):
        some = (own == pattern).all(1)
        used, goal = rows[~pattern], rows.new_zeros(int((~pattern).sum()), 1)
        if plane is not None:
            length = (plane * spread).norm()
            used, goal = torch.cat([used, (plane * spread / length)[None]]), torch.cat([goal, 1 / length.view(1, 1)])
        rest = goal - used @ (candidates[some] / spread).T
        better[some] = candidates[some] + (torch.linalg.pinv(used, rtol=1e-9) @ rest).T * spread
    return better
