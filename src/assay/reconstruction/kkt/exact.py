"""Training samples read off the weights exactly, where a network with one hidden layer trained to convergence."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_model, check_positive, seeded
from assay.reconstruction.kkt.entry import from_first_layer
from assay.reconstruction.kkt.exact_rows import Rows, choose, distinct_rows, outer, read_gates, rescale, sharpness
from assay.reconstruction.kkt.subspace import noise_rank

LARGEST_RANK = 40
"""Spans of more dimensions are not tried: it was measured on 30 samples, and work grows with the square and more."""


@dataclass(frozen=True, eq=False)
class ExactSamples:
    """Hold samples that exact equations pin down, those with most equations to spare first.

    Attributes:
        samples: Samples as the first layer reads them.
        multipliers: Their factors in the stationarity of the loss.
        labels: Their classes, 0 or 1.
        spare: Exact equations that each fulfils beyond the number of its unknowns.
    """

    samples: Float[Tensor, "k d"]
    multipliers: Float[Tensor, " k"]
    labels: Int[Tensor, " k"]
    spare: Int[Tensor, " k"]


def exact_samples(
    model: nn.Module,
    *,
    input_shape: tuple[int, ...] | None = None,
    n_starts: int = 400,
    n_rounds: int = 4,
    random_state: int = 0,
) -> ExactSamples:
    r"""Read training samples off a converged network with one hidden layer and one logit.

    With weight decay, training ends where $r_j = (w_j, b_j) / v_j$ is, up to one factor $c_j$ a unit,

    $$r_j = c_j \sum_i g_{ij} z_i, \qquad z_i = \lambda_i s_i (x_i, 1), \qquad g_{ij} = 1[w_j^\top x_i + b_j > 0],$$

    a sum over a subset of the samples; only where a sample sits on a unit's kink, $w_j^\top x_i + b_j = 0$,
    is $g_{ij}$ a fraction. So each sample has a dual $m_i$, $\langle m_i, z_l \rangle = \delta_{il}$, that is exactly
    orthogonal to every row whose gate is off. The search is for such facets:

    1. From random directions and differences of rows, least absolute deviations find duals that hold many exact zeros.
    2. The values of the open gates give the factors $c_j$, after which gates are 0 or 1 to a hundredth.
    3. Each $z_i$ solves linear equations: zero at its kinks, orthogonal to the other duals, with the right sign
       elsewhere. Duals that contradict most others are left out.
    4. Samples that are pinned down confine the duals that are still missing; back to 1 in what is left.

    Measured on nets of 500 hidden units that were trained on 30 digits for 21 000 steps, four rounds returned 10, 8, 0
    and 2 samples of the nets that it was developed on, all of correlation above 0.98 with a training image; of three
    others 3, 4 and 0, of which 6 are above 0.95 and one is no training image: strong evidence, not a proof. It took 5
    to 9 CPU seconds. Where a net has few distinct units, sums and differences of gates are gates too, and little can
    be told.

    A sample is returned if more of these equations hold exactly than it has unknowns. Where training did not
    converge, no more than three units a dimension of the span are distinct, or the span has more than 40 dimensions,
    nothing is. Time is O(rounds x starts x distinct units x rank^2).

    Args:
        model: Network with one hidden layer of ReLUs with biases, and one output; it comes back as it was.
        input_shape: Shape of one input; flat when None.
        n_starts: Random directions of the first round; each later one takes twice as many.
        n_rounds: Rounds of search; the first four find most.
        random_state: Seed of the directions.

    Returns:
        The samples, none where nothing is exact.

    Raises:
        InvalidInputError: The network has another form, or a number is not positive.

    Source: the structure follows from Lyu and Li, Gradient Descent Maximizes the Margin of Homogeneous Neural Networks
    (2020), as in `KKTReconstructor`; the search for facets is ours.

    >>> net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1, bias=False))
    >>> exact_samples(net).samples.shape
    torch.Size([0, 6])
    """
    check_positive(n_starts, "n_starts")
    check_positive(n_rounds, "n_rounds")
    check_model(model)
    layers = _layers(model, input_shape)
    if layers is None:
        raise InvalidInputError(
            "samples can be read off exactly from networks with one hidden layer of ReLUs with biases and one output "
            "only; use KKTReconstructor for others"
        )
    first, last = layers
    incoming = torch.column_stack([first.weight, first.bias]).detach().double().cpu()
    outgoing = last.weight.detach().double().cpu()[0]
    rank = noise_rank(incoming)
    if rank <= LARGEST_RANK:
        basis = torch.linalg.svd(incoming, full_matrices=False)[2][:rank]
        rows = distinct_rows(incoming @ basis.T, outgoing, basis[:, -1])
        if len(rows.values) >= 3 * rank:
            found = _search(rows, n_starts, n_rounds, seeded(random_state))
            if found is not None:
                return _to_inputs(found, rank, basis, first.weight)
    empty = first.weight.new_zeros(0)
    whole = torch.zeros(0, dtype=torch.long, device=empty.device)
    return ExactSamples(first.weight.new_zeros(0, first.in_features), empty, whole, whole)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Hold what the gates of k candidates say about their samples.

    Attributes:
        z: The samples' factors.
        violation: Sum of what the equations at gates and kinks miss by.
        kinks: Number of kinks.
        held: Number of kinks that the factor meets.
        duals: Number of other candidates' duals that the factor is orthogonal to.
        pinned: Smallest singular value but one of the equations that hold: zero where they leave freedom.
    """

    z: Float[Tensor, "k r"]
    violation: Float[Tensor, " k"]
    kinks: Int[Tensor, " k"]
    held: Int[Tensor, " k"]
    duals: Int[Tensor, " k"]
    pinned: Float[Tensor, " k"]

    def consistent(self) -> Bool[Tensor, " k"]:
        """Tell which factors meet nearly all equations that their gates give."""
        return (self.held >= 0.95 * self.kinks) & (self.violation < 0.1) & (self.duals >= 0.9 * (len(self.z) - 1))


def _search(rows: Rows, n_starts: int, n_rounds: int, source: torch.Generator) -> _Fit | None:
    """Alternate between duals and samples."""
    rank = rows.values.shape[1]
    starts = torch.cat([torch.randn(n_starts, rank, generator=source).double(), rows.differences(n_starts, source)])
    free = torch.eye(rank).double()
    pool = duals = starts[:0]
    fit = None
    if len(read_gates(rows, starts[::8], free)) == 0:
        return None
    for round_ in range(n_rounds):
        new = read_gates(rows, starts, free)
        if round_ == 0 and len(new):
            rows, new = rescale(rows, new)
        pool = torch.cat([duals, new, pool])
        if len(pool) < 2:
            return fit
        score = sharpness(rows.gates(pool)) + 1000 * (torch.arange(len(pool)) < len(duals))
        chosen = choose(rows.gates(pool), score, least=2 * rank)
        if len(chosen) < 2:
            return fit
        kept = _consistent(rows, pool[chosen])
        rest = torch.ones(len(pool), dtype=torch.bool)
        rest[chosen[kept]] = False
        duals, pool = pool[chosen[kept]], pool[rest][:400]
        if len(duals) >= 8:
            rows, duals = rescale(rows, duals, rounds=1)
        fit = _solve(rows, duals, pins=True)
        sure = fit.consistent() & (fit.pinned > 0.01)
        free = _complement(fit.z[sure], rank)
        missing = _complement(duals, rank)
        if missing.shape[1] == 0 or free.shape[1] == 0:
            break
        starts = torch.randn(2 * n_starts, rank, generator=source).double()
        starts[:n_starts] = starts[:n_starts] @ missing @ missing.T
        starts[n_starts:] = starts[n_starts:] @ free @ free.T
    return fit


def _consistent(rows: Rows, duals: Float[Tensor, "k r"], *, share: float = 0.85, most: int = 12) -> Int[Tensor, " m"]:
    """Leave out, one at a time, the dual whose sample is orthogonal to the fewest others."""
    kept = torch.arange(len(duals))
    while True:
        fit = _solve(rows, duals[kept])
        worst = int(fit.duals.argmin())
        if len(kept) <= 2 or len(duals) - len(kept) >= most or fit.duals[worst] >= share * (len(kept) - 1):
            return kept
        kept = kept[kept != kept[worst]]


def _solve(rows: Rows, duals: Float[Tensor, "k r"], *, pins: bool = False, steps: int = 50) -> _Fit:
    r"""Solve for samples whose gates are known, by least absolute deviations.

    Minimises, with $\langle m_i, z_i \rangle = 1$, the absolute values of $\langle h_j, z_i \rangle$ at kinks and of
    $\langle m_l, z_i \rangle$, plus the parts of $\langle h_j, z_i \rangle$ on the wrong side of other gates. Of both
    labels the better one is kept.
    """
    k, rank = duals.shape
    gates = nn.functional.pad(rows.gates(duals), (0, 1), value=1.0).repeat(2, 1)  # the last plane tells the label
    kink = (gates > 0.02) & (gates < 0.97)
    side = (gates >= 0.97).double() - (gates.abs() < 0.01).double()
    side[k:] *= -1
    other = (1 - torch.eye(k).double()).repeat(2, 1) > 0
    planes = torch.cat([rows.planes, rows.constant[None] / rows.constant.norm()])
    equations = torch.cat([planes, duals / duals.norm(dim=1, keepdim=True)])
    products, own, units = outer(equations), duals.repeat(2, 1), len(planes)
    weight = torch.cat([kink + 0.1 * (side != 0), other], 1).double()
    z, missed = own, own @ equations.T
    for step in range(steps):
        width = 0.1 * 0.01 ** (step / (steps - 1))
        normal = (weight @ products).reshape(2 * k, rank, rank)
        ridge = 1e-7 * normal.diagonal(dim1=1, dim2=2).mean(1)
        z = torch.linalg.solve(normal + ridge[:, None, None] * torch.eye(rank), own)
        z = z / (z * own).sum(1, keepdim=True)
        missed = z @ equations.T / z.norm(dim=1, keepdim=True)
        active = torch.cat([kink | (side * missed[:, :units] < 0), other], 1)
        weight = active / (missed.square() + width**2).sqrt()
    wrong = torch.where(kink, missed[:, :units].abs(), (-side * missed[:, :units]).clamp_min(0)).sum(1)
    cost = wrong + (other * missed[:, units:].abs()).sum(1)
    better = torch.arange(k) + k * (cost[k:] < cost[:k])
    holds = torch.cat([kink, other], 1)[better] & (missed[better].abs() < 3e-3)
    pinned = torch.stack([_freedom(equations[row]) for row in holds]) if pins else torch.zeros(k)
    held, orthogonal = holds[:, :units].sum(1), holds[:, units:].sum(1)
    return _Fit(z[better], wrong[better], kink[:k].sum(1), held, orthogonal, pinned)


def _freedom(equations: Float[Tensor, "e r"]) -> Tensor:
    """Return the smallest singular value but one, 0 where there are too few equations for one solution."""
    enough = len(equations) >= equations.shape[1] - 1
    return torch.linalg.svdvals(equations)[equations.shape[1] - 2] if enough else equations.new_zeros(())


def _complement(vectors: Float[Tensor, "k r"], rank: int) -> Float[Tensor, "r s"]:
    """Return an orthonormal basis, as columns, of what is orthogonal to some independent vectors."""
    if len(vectors) == 0:
        return torch.eye(rank).double()
    return torch.linalg.svd(vectors / vectors.norm(dim=1, keepdim=True))[2][len(vectors) :].T


def _to_inputs(fit: _Fit, rank: int, basis: Float[Tensor, "r e"], like: Tensor) -> ExactSamples:
    """Keep what more equations pin down than it has unknowns; the last entry tells sign and factor."""
    spare = fit.held + fit.duals - (rank - 1)
    kept = torch.nonzero(fit.consistent() & (spare >= 2)).flatten()
    kept = kept[spare[kept].argsort(descending=True, stable=True)]
    inputs = fit.z[kept] @ basis
    last = inputs[:, -1]
    samples, labels = (inputs[:, :-1] / last[:, None]).to(like), (last > 0).long().to(like.device)
    return ExactSamples(samples, last.abs().to(like), labels, spare[kept].to(like.device))


def can_be_read(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> bool:
    """Tell whether a network has the form that `exact_samples` needs.

    >>> can_be_read(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)))
    True
    """
    return _layers(model, input_shape) is not None


def _layers(model: nn.Module, input_shape: tuple[int, ...] | None) -> tuple[nn.Linear, nn.Linear] | None:
    """Return both layers of a network that computes what they do with a ReLU between them."""
    dense = [layer for layer in model.modules() if next(layer.parameters(recurse=False), None) is not None]
    if len(dense) != 2 or not all(isinstance(layer, nn.Linear) for layer in dense):
        return None
    chain = from_first_layer(copy.deepcopy(model).requires_grad_(False), input_shape)[0]
    if not isinstance(chain, nn.Sequential):
        return None
    first, last = chain[0], chain[-1]
    if not isinstance(first, nn.Linear) or not isinstance(last, nn.Linear):
        return None
    return None if first.bias is None or last.out_features != 1 else (first, last)
