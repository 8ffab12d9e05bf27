r"""Directions in which the displacement of a first layer is zero on many units: one for each training sample.

Training moves the first layer by $D = A C$, exactly: row i of C is sample i in coordinates of the data's span, and
$A_{ji}$ adds up what unit j learned from it, over all steps. $A_{ji}$ is zero where unit j was never active on sample
i, in networks of any depth. C is square, so that each sample has a dual direction $p_i$, a column of $C^{-1}$, with
$D p_i$ the column $A_{\cdot i}$: zero on every unit that the sample never activated, a third of them as a rule. Any
other direction is zero on about as many units as it has coordinates, or on those that several samples share.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.reconstruction.known_start.path import Ends
from assay.reconstruction.known_start.prior import Prior

LEAST_ZERO, COARSEST_ZERO = 3e-4, 3e-2
"""Least size below which an entry counts as zero, relative to the large entries, and the largest that rounding may
make of it."""

SURPLUS = (1.0, 12)
"""A direction is certified from as many zeros as coordinates, times the first, plus the second."""

SINGLE = 0.01
"""Least size, relative to the largest, of the second smallest singular value of the units that are zero in a single
sample's direction; units that two samples share leave a second direction."""

SAME_DIRECTION, NEW_DIRECTION = 0.9999, 0.02
"""Cosine of equal directions, and least part of a new one outside the span of those that are known."""

SEPARATION = 0.8
"""Least probability that a candidate activates a unit less that is zero in its direction than one that is not."""

LEAST_GAIN, MOST_PARTS = 4, 5
"""Least number of inactive units that become zero as another sample's part is taken out of a direction, less those
that do not stay zero; and the most parts that are taken out."""

STILL = 1e-4
"""Length of a row, relative to the longest, up to which its unit learned nothing."""


@dataclass(frozen=True, eq=False)
class UnitRows:
    r"""Hold the displacement of a first layer by unit, $D = U S$ in coordinates of the data's span, in float64.

    Attributes:
        rows: Rows of U for the units that learned, each of length one.
        values: Singular values S.
        ends: Their weights and biases before and after training: samples' coordinates to pre-activations.
        added: What training added to weights and biases of all units; None without biases.
        prior: Mean and spread of samples in each coordinate.
        tolerance: Size below which an entry counts as zero, relative to the large ones.
    """

    rows: Float[Tensor, "h r"]
    values: Float[Tensor, " r"]
    ends: tuple[tuple[Tensor, Tensor | None], ...]
    added: tuple[Tensor, Tensor] | None
    prior: Prior
    tolerance: float

    def is_zero(self, directions: Float[Tensor, "*k r"]) -> Bool[Tensor, "*k h"]:
        """Tell on which units directions are zero."""
        size = (directions @ self.rows.T).abs()
        return size < self.least_size(size)

    def least_size(self, size: Float[Tensor, "*k h"]) -> Float[Tensor, "*k 1"]:
        """Return the size below which a direction's entry on a unit counts as zero, from those on all units."""
        return self.tolerance * size.quantile(0.9, dim=-1, keepdim=True)

    def largest_activation(self, samples: Float[Tensor, "m r"]) -> Float[Tensor, "m h"]:
        """Return each unit's largest pre-activation along the straight path, relative to its weight's length."""
        (first, bias), (last, last_bias) = self.ends
        largest = samples.new_full((len(samples), len(first)), float("-inf"))
        for t in torch.linspace(0, 1, 9).tolist():
            value = samples @ first.lerp(last, t).T
            if bias is not None and last_bias is not None:
                value += bias.lerp(last_bias, t)
            largest = torch.maximum(largest, value)
        return largest / first.norm(dim=1)

    def polished(self, direction: Float[Tensor, " r"]) -> tuple[Float[Tensor, " r"], int] | None:
        """Return the direction that is zero on the same units, and their number, if it is a single sample's."""
        least, zero = SURPLUS[0] * len(direction) + SURPLUS[1], self.is_zero(direction)
        values = self.values
        for _ in range(3):
            if int(zero.sum()) < least:
                return None
            values, right = torch.linalg.svd(self.rows[zero], full_matrices=False)[1:]
            direction, before = right[-1], zero
            zero = self.is_zero(direction)
            if torch.equal(zero, before):
                break
        single = float(values[-2]) > max(20 * float(values[-1]), SINGLE * float(values[0])) if len(values) > 1 else True
        return (direction, int(zero.sum())) if single and int(zero.sum()) >= least else None


def read_unit_rows(ends: Ends, prior: Prior) -> UnitRows | None:
    """Write a displacement by unit; None where the rounding of weights hides zeros, or no unit is to spare.

    Args:
        ends: The network before and after training; its displacement has rank 1 or more.
        prior: Mean and spread of samples in each direction.
    """
    basis, bias = ends.moved.basis.double(), ends.first.replace("weight", "bias")
    moved, rank = ends.added[ends.first] @ basis.T, len(basis)
    values = ends.moved.values[:rank].double()
    tolerance = max(LEAST_ZERO, ends.moved.floor / float(values[-1]))
    length = moved.norm(dim=1)
    learned = length > STILL * length.max()
    if tolerance > COARSEST_ZERO or int(learned.sum()) < SURPLUS[0] * rank + SURPLUS[1]:
        return None
    rows = torch.nn.functional.normalize(moved[learned] / values, dim=1)
    states = ends.before, ends.after
    each = tuple(
        (state[ends.first][learned] @ basis.T, state[bias][learned] if bias in state else None) for state in states
    )
    added = (moved, ends.added[bias]) if bias in ends.after and bias not in ends.unmoved else None
    return UnitRows(rows, values, each, added, prior, tolerance)


def sparse_directions(
    units: UnitRows, order: Int[Tensor, "m h"], size: int, *, n_iter: int = 20
) -> Float[Tensor, "m r"]:
    r"""Return directions that are zero on most of the first units of each order, by reweighted least squares.

    Each step takes the direction of least $\sum_j w_j (u_j p)^2$, $\lVert p \rVert = 1$, and then
    $w_j = 1 / \sqrt{(u_j p)^2 + \epsilon^2}$ with a falling $\epsilon$, which tends to the least sum of absolute
    values: units that are not zero do not matter if they are few.
    """
    rows = units.rows[order[:, :size]]
    weight = rows.new_ones(rows.shape[:2])
    direction = rows.new_ones(len(rows), rows.shape[2], 1)
    for step in range(n_iter):
        moment = (rows * weight[..., None]).mT @ rows
        ridge = 1e-13 * moment.diagonal(dim1=1, dim2=2).sum(1)
        factor = torch.linalg.cholesky_ex(moment + ridge[:, None, None] * torch.eye(rows.shape[2]).to(moment))[0]
        for _ in range(2 if step else 8):  # inverse iteration
            direction = torch.nn.functional.normalize(torch.cholesky_solve(direction, factor), dim=1)
        sizes = (rows @ direction)[..., 0].abs()
        small = 10 ** (-1.5 - 4 * step / n_iter) * sizes.quantile(0.9, dim=1, keepdim=True)
        weight = (sizes.square() + small.square()).rsqrt()
        weight = weight / weight.amax(1, keepdim=True)
    return direction[..., 0]


def certified(
    units: UnitRows, known: Float[Tensor, "k r"], new: Float[Tensor, "m r"], order: Int[Tensor, "m h"]
) -> Float[Tensor, "k2 r"]:
    """Add directions of single samples to those that are known, those with most zeros first; drop mixtures of them.

    Units that two samples both activate may learn almost the same from them, so that a mixture is zero there. The zeros
    of a sample are units that its candidate activates least.

    Args:
        units: The displacement by unit.
        known: Directions of single samples.
        new: Directions to add.
        order: Units by their activation on the candidate that each new direction comes from, the least first.
    """
    apart = ((new @ known.T).abs() < SAME_DIRECTION).all(1)
    apart &= ~((new @ new.T).abs() > SAME_DIRECTION).triu(1).any(0)
    polished = [(one, int(units.is_zero(one).sum())) for one in known]
    for direction, activations in zip(new[apart], order[apart], strict=True):
        found = units.polished(direction)
        if found is not None and _separation(units.is_zero(found[0])[activations]) > SEPARATION:
            polished.append(found)
    kept: list[Tensor] = []
    for direction, _ in sorted(polished, key=lambda found: -found[1]):
        if _is_new(direction, kept):
            kept.append(direction)
    return torch.stack(kept) if kept else known.new_zeros(0, known.shape[1])


def _separation(zero: Bool[Tensor, " h"]) -> float:
    """Return the probability that a unit with a zero comes before one without, units in order of activation."""
    n_zero, n_other = int(zero.sum()), int((~zero).sum())
    return float((zero.cumsum(0) * ~zero).sum()) / max(n_zero * n_other, 1)


def _is_new(direction: Float[Tensor, " r"], kept: list[Tensor]) -> bool:
    """Tell whether a direction is neither among those that are kept nor in their span."""
    if not kept:
        return True
    span = torch.stack(kept).T
    if float((direction @ span).abs().max()) > SAME_DIRECTION:
        return False
    outside = direction - span @ torch.linalg.lstsq(span, direction[:, None]).solution[:, 0]
    return float(outside.norm()) > NEW_DIRECTION


def unmixed(units: UnitRows, known: Float[Tensor, "n r"], inactive: Bool[Tensor, "n h"]) -> Float[Tensor, "n r"]:
    """Take other samples' parts out of directions that are mixtures, as of two samples with almost the same zeros.

    Without the other's part a direction is zero on more of the units that its sample leaves inactive: at the right
    factor on several at once.

    Args:
        units: The displacement by unit.
        known: A direction for each sample.
        inactive: Units that are inactive on each direction's sample; none to leave the direction as it is.
    """
    known = known.clone()
    for i, idle in enumerate(inactive):
        for _ in range(MOST_PARTS):
            better = _with_more_zeros(units, known, i, idle)
            found = None if better is None else units.polished(better)
            if found is None or not _is_new(found[0], [one for j, one in enumerate(known) if j != i]):
                break
            known[i] = found[0]
    return known


def _with_more_zeros(units: UnitRows, known: Tensor, i: int, idle: Tensor) -> Tensor | None:
    """Return direction i without its part in the direction that leaves most idle units at zero; None if none does."""
    sizes = known @ units.rows.T
    least = units.least_size(sizes.abs())
    zero = sizes.abs() < least
    most, best = LEAST_GAIN - 1, None
    for j, other in enumerate(sizes):
        factors = (sizes[i] / other)[idle & ~zero[i] & ~zero[j]]
        if j == i or not len(factors):
            continue
        now_zero = (sizes[i] - factors[:, None] * other).abs() < least[i] + factors.abs()[:, None] * least[j]
        gain = (now_zero & idle & ~zero[i]).sum(1) - (~now_zero & zero[i]).sum(1)
        if int(gain.max()) > most:
            most, best = int(gain.max()), known[i] - factors[gain.argmax()] * known[j]
    return best
