"""Distinct rows of a converged first layer, and dual vectors orthogonal to many of them."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold the distinct rows $(w_j, b_j) / v_j$ in coordinates of their span.

    Attributes:
        values: The rows, divided by the factors found so far.
        planes: Kink of each unit: unit normals, positive on its active side.
        constant: Linear functional that returns the last entry of a vector.
    """

    values: Float[Tensor, "u r"]
    planes: Float[Tensor, "u r"]
    constant: Float[Tensor, " r"]

    @cached_property
    def outer(self) -> Float[Tensor, "u rr"]:
        """Outer product of each row with itself."""
        return outer(self.values)

    def gates(self, duals: Float[Tensor, "k r"]) -> Float[Tensor, "k u"]:
        """Return the gates of all units according to the duals."""
        return duals @ self.values.T

    def differences(self, count: int, source: torch.Generator) -> Float[Tensor, "k r"]:
        """Return differences of neighbouring rows, drawn at random: many differ in the gate of one sample."""
        apart = torch.cdist(self.values, self.values).fill_diagonal_(torch.inf)
        near = apart.topk(min(6, len(apart) - 1), largest=False).indices
        pairs = (self.values[:, None] - self.values[near]).flatten(0, 1)
        return pairs[torch.randperm(len(pairs), generator=source)[:count]]


def outer(vectors: Float[Tensor, "k r"]) -> Float[Tensor, "k rr"]:
    """Return the outer product of each vector with itself, flat."""
    return (vectors[:, :, None] * vectors[:, None, :]).flatten(1)


def distinct_rows(incoming: Float[Tensor, "h r"], outgoing: Float[Tensor, " h"], constant: Float[Tensor, " r"]) -> Rows:
    """Average the rows of parallel units, and drop units of negligible weight."""
    strong = outgoing.abs() > 0.02 * outgoing.abs().max()
    rows, outgoing = incoming[strong] / outgoing[strong, None], outgoing[strong]
    if len(rows) < 2:
        return Rows(rows[:0], rows[:0], constant)
    apart = torch.cat([rows / rows.norm(dim=1).median(), 10 * outgoing.sign()[:, None]], 1)
    groups = torch.as_tensor(fcluster(linkage(apart.numpy(), "average"), 0.05, "distance")).long() - 1
    member = torch.nn.functional.one_hot(groups).double().T * outgoing.square()
    rows = member @ rows / member.sum(1, keepdim=True)
    sides = (member @ outgoing.sign()).sign()
    return Rows(rows, rows * sides[:, None] / rows.norm(dim=1, keepdim=True), constant)


def read_gates(
    rows: Rows, starts: Float[Tensor, "k r"], free: Float[Tensor, "r s"], *, batch_size: int = 400
) -> Float[Tensor, "m r"]:
    """Find distinct duals with many exact zeros, those with most zeros first.

    Args:
        rows: Distinct rows.
        starts: Guesses of samples, which set the initial gates.
        free: Columns that span the space of the duals.
        batch_size: Starts processed at once.
    """
    inside = replace(rows, values=rows.values @ free)
    found = [_absolute_deviations(rows, inside, part) for part in starts.split(batch_size)]
    duals = torch.cat(found) @ free.T
    gates = rows.gates(duals)
    zeros = (gates.abs() < 3e-3).sum(1)
    near_one = ((gates - 1).abs() < 0.2).double().mean(1)
    good = (zeros >= 1.2 * rows.values.shape[1]) & (gates.amin(1) > -0.005) & (near_one >= 0.12)
    good &= (gates > 1.18).double().mean(1) <= 0.1
    duals, gates, zeros = duals[good], gates[good], zeros[good]
    return duals[choose(gates, zeros, least=0, alike=0.99, new=0.0)]


def _absolute_deviations(rows: Rows, inside: Rows, starts: Float[Tensor, "k r"]) -> Float[Tensor, "m s"]:
    """Fit gates with duals, by reweighted least squares with little weight on open gates; return three stages."""
    sign = (starts @ rows.constant).sign()
    sign[sign == 0] = 1
    before = (starts * sign[:, None]) @ rows.planes.T
    before = before / before.abs().mean(1, keepdim=True)
    on = (before > 0).double()
    clear = before.abs().tanh().square() * torch.where(on > 0, 0.05, 1.0)
    duals, weight = starts, clear
    for step in range(40):
        duals = _weighted(inside, weight, weight * on)
        width = 0.3 * 0.01 ** (step / 39)
        missed = inside.gates(duals) - on
        weight = clear / (missed.square() + torch.where(on > 0, max(width, 0.1), width).square()).sqrt()
    first = _unit(inside, duals)
    second = _unit(inside, _zeros_only(inside, first, 2))
    return torch.cat([first, second, _unit(inside, _zeros_only(inside, second, 8))])


def _zeros_only(rows: Rows, duals: Float[Tensor, "k s"], rounds: int) -> Float[Tensor, "k s"]:
    """Reweigh on the closed gates alone, with the mean of the open gates fixed at one."""
    for _ in range(rounds):
        gates = rows.gates(duals)
        on = (gates > 0.5).double()
        mean = on @ rows.values / on.sum(1, keepdim=True).clamp_min(1)
        duals = _weighted(rows, torch.where(gates > 0.3, 0.01, 1 / (gates.square() + 9e-6)), None, mean)
        duals = duals / (duals * mean).sum(1, keepdim=True).clamp_min(1e-12)
    return duals


def _weighted(rows: Rows, weight: Tensor, target: Tensor | None, right: Tensor | None = None) -> Tensor:
    """Solve weighted normal equations, with a ridge of the size of rounding errors."""
    rank = rows.values.shape[1]
    normal = (weight @ rows.outer).reshape(-1, rank, rank)
    normal = normal + 1e-9 * normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(rank)
    right = right if target is None else target @ rows.values
    return torch.linalg.solve_ex(normal, right)[0].nan_to_num(0, 0, 0)


def _unit(rows: Rows, duals: Float[Tensor, "k s"]) -> Float[Tensor, "k s"]:
    """Scale duals so that open gates are one on average."""
    gates = rows.gates(duals)
    open_ = (gates > 0.5 * gates.quantile(0.95, dim=1, keepdim=True).clamp_min(1e-12)).double()
    size = (gates * open_).sum(1, keepdim=True) / open_.sum(1, keepdim=True).clamp_min(1)
    return duals / torch.where(size > 0, size, 1.0)


def _to_mode(rows: Rows, duals: Float[Tensor, "k r"], *, bins: int = 80) -> Float[Tensor, "k r"]:
    """Scale duals so that the most frequent value of an open gate is one."""
    duals = _unit(rows, duals)
    gates = rows.gates(duals)
    place = ((gates - 0.6) * (bins / 0.8)).floor().long()
    counted = ((place >= 0) & (place < bins)).double()
    count = torch.zeros(len(gates), bins + 2).double().scatter_add_(1, place.clamp(0, bins - 1) + 1, counted)
    best = (count[:, 1:-1] + 0.5 * count[:, :-2] + 0.5 * count[:, 2:]).argmax(1)
    near = ((gates - (0.6 + (best[:, None] + 0.5) * (0.8 / bins))).abs() < 1.2 / bins).double()
    mode = torch.where(near.sum(1) > 0, (gates * near).sum(1) / near.sum(1).clamp_min(1), 1.0)
    return duals / mode[:, None]


def rescale(
    rows: Rows, duals: Float[Tensor, "k r"], *, rounds: int = 4, leading: int = 20
) -> tuple[Rows, Float[Tensor, "k r"]]:
    """Divide each row by the median of its open gates over the leading duals."""
    for _ in range(rounds):
        duals = _to_mode(rows, duals)
        gates = rows.gates(duals[:leading])
        median = torch.where((gates - 1).abs() < 0.15, gates, torch.nan).nanmedian(0).values.nan_to_num(1.0)
        rows = Rows(rows.values / median[:, None], rows.planes, rows.constant)
    return rows, _to_mode(rows, duals)


def sharpness(gates: Float[Tensor, "k u"]) -> Int[Tensor, " k"]:
    """Count gates that equal zero or one, minus penalties for near misses and for values outside [0, 1]."""
    zeros, ones = gates.abs(), (gates - 1).abs()
    sharp = (zeros < 3e-3) | (ones < 0.01)
    missed = ((ones >= 0.01) & (ones < 0.05)) | ((zeros >= 3e-3) & (zeros < 0.02))
    return sharp.sum(1) - 2 * missed.sum(1) - 3 * ((gates > 1.05) | (gates < -0.02)).sum(1)


def choose(
    gates: Float[Tensor, "k u"], score: Tensor, *, least: float, alike: float = 0.97, new: float = 0.02
) -> Int[Tensor, " m"]:
    """Return indices of independent gate vectors in the order of their scores.

    Args:
        gates: Gate vectors.
        score: Their scores.
        least: Lowest score.
        alike: Largest cosine to an earlier choice.
        new: Least part of a vector outside the span of the earlier choices; 0 for no such test.
    """
    unit = gates / gates.norm(dim=1, keepdim=True)
    taken: list[int] = []
    span = unit.new_zeros(0, gates.shape[1])
    for index in score.argsort(descending=True, stable=True).tolist():
        if score[index] < least:
            break
        if taken and (unit[taken] @ unit[index]).max() > alike:
            continue
        if new:
            rest = unit[index] - span.T @ (span @ unit[index])
            if rest.norm() < new:
                continue
            rest = rest - span.T @ (span @ rest)
            span = torch.cat([span, rest[None] / rest.norm()])
        taken.append(index)
    return torch.as_tensor(taken, dtype=torch.long)
