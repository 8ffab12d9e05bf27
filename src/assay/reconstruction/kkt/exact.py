"""Exact training samples of a converged network with one hidden layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, as_generator, check_count, check_model, copy_network
from assay.reconstruction.kkt.data_span import noise_rank
from assay.reconstruction.kkt.exact_rows import Rows, choose, distinct_rows, outer, read_gates, rescale, sharpness
from assay.reconstruction.kkt.input_layer import from_first_layer

LARGEST_RANK = 40
"""Largest dimension of the span that is tried; the cost grows with its square or faster."""


@dataclass(frozen=True, eq=False)
class ExactSamples:
    """Hold samples that exact equations determine, the most overdetermined first.

    Attributes:
        samples: Samples as inputs of the first layer.
        multipliers: Their multipliers in the stationarity condition.
        labels: Their classes, 0 or 1.
        spare: Exact equations of each sample beyond the number of its unknowns.
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
    generator: torch.Generator | None = None,
) -> ExactSamples:
    r"""Read training samples off a converged network with one hidden layer and one logit.

    At the end of training with weight decay, the row $r_j = (w_j, b_j) / v_j$ of each hidden unit is, up to a factor,

    $$r_j = c_j \sum_i g_{ij} z_i, \qquad z_i = \lambda_i s_i (x_i, 1), \qquad g_{ij} = 1[w_j^\top x_i + b_j > 0],$$

    a sum over a subset of the samples; $g_{ij}$ is fractional only for a sample on the kink of a unit,
    $w_j^\top x_i + b_j = 0$. So each sample has a dual vector $m_i$, $\langle m_i, z_l \rangle = \delta_{il}$, that is
    exactly orthogonal to every row with a closed gate. Each round searches for such duals:

    1. Least absolute deviations, from random directions and differences of rows, find duals with many exact zeros.
    2. The open gates give the factors $c_j$; after division by them gates are 0 or 1 up to a hundredth.
    3. Each $z_i$ solves linear equations: zero at its kinks, orthogonal to the other duals, of the right sign
       elsewhere. Duals that contradict most others are dropped.
    4. The samples found so far restrict the starts of the next round.

    A sample is returned if more of these equations hold exactly than it has unknowns: strong evidence, not a proof.
    Nothing is returned if training did not converge, if there are fewer than three distinct units per dimension of the
    span, or if the span has more than 40 dimensions.

    Cost: time O(n_rounds * n_starts * distinct units * rank^2), memory O(distinct units * (n_starts + rank^2)).

    Args:
        model: Network with one hidden layer of ReLUs with biases, and one output; it comes back as it was.
        input_shape: Shape of one input; flat when None.
        n_starts: Random directions of the first round; each later round takes twice as many.
        n_rounds: Rounds of the search.
        generator: Source of the directions; seeded with 0 when None.

    Returns:
        The samples; none if no equations hold exactly.

    Raises:
        InvalidInputError: The network has another form, or a number is not positive.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), stationarity equation,
    written out for one hidden layer; the search for duals is ours.

    >>> net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1, bias=False))
    >>> exact_samples(net).samples.shape
    torch.Size([0, 6])
    """
    check_count(n_starts, "n_starts")
    check_count(n_rounds, "n_rounds")
    check_model(model)
    layers = _layers(model, input_shape)
    if layers is None:
        raise InvalidInputError(
            "exact samples need a network with one hidden layer of ReLUs with biases and one output; "
            "use KKTReconstructor for other networks"
        )
    first, last = layers
    incoming = torch.column_stack([first.weight, first.bias]).detach().double().cpu()
    outgoing = last.weight.detach().double().cpu()[0]
    rank = noise_rank(incoming)
    if rank <= LARGEST_RANK:
        basis = torch.linalg.svd(incoming, full_matrices=False)[2][:rank]
        rows = distinct_rows(incoming @ basis.T, outgoing, basis[:, -1])
        if len(rows.values) >= 3 * rank:
            found = _search(rows, n_starts, n_rounds, as_generator(generator))
            if found is not None:
                return _to_inputs(found, rank, basis, first.weight)
    empty = first.weight.new_zeros(0)
    whole = torch.zeros(0, dtype=torch.long, device=empty.device)
    return ExactSamples(first.weight.new_zeros(0, first.in_features), empty, whole, whole)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Hold the samples that follow from the gates of k candidates.

    Attributes:
        z: Samples with a last coordinate 1, times label and multiplier.
        violation: Sum of the residuals of the equations at gates and kinks.
        kinks: Number of kinks.
        held: Number of kinks on which the sample lies.
        duals: Number of duals of other candidates to which the sample is orthogonal.
        pinned: Second smallest singular value of the equations that hold: zero if they do not determine the sample.
    """

    z: Float[Tensor, "k r"]
    violation: Float[Tensor, " k"]
    kinks: Int[Tensor, " k"]
    held: Int[Tensor, " k"]
    duals: Int[Tensor, " k"]
    pinned: Float[Tensor, " k"]

    def consistent(self) -> Bool[Tensor, " k"]:
        """Tell which samples fulfil nearly all equations of their gates."""
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
    """Drop, one at a time, the dual whose sample is orthogonal to the fewest others."""
    kept = torch.arange(len(duals))
    while True:
        fit = _solve(rows, duals[kept])
        worst = int(fit.duals.argmin())
        if len(kept) <= 2 or len(duals) - len(kept) >= most or fit.duals[worst] >= share * (len(kept) - 1):
            return kept
        kept = kept[kept != kept[worst]]


def _solve(rows: Rows, duals: Float[Tensor, "k r"], *, pins: bool = False, steps: int = 50) -> _Fit:
    r"""Solve for samples with known gates, by least absolute deviations.

    Minimises, with $\langle m_i, z_i \rangle = 1$, the absolute values of $\langle h_j, z_i \rangle$ at kinks and of
    $\langle m_l, z_i \rangle$, plus the parts of $\langle h_j, z_i \rangle$ on the wrong side of other gates. The
    better of both labels is kept.
    """
    k, rank = duals.shape
    gates = nn.functional.pad(rows.gates(duals), (0, 1), value=1.0).repeat(2, 1)  # the last plane carries the label
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
    """Return the second smallest singular value, 0 if there are too few equations for a unique solution."""
    enough = len(equations) >= equations.shape[1] - 1
    return torch.linalg.svdvals(equations)[equations.shape[1] - 2] if enough else equations.new_zeros(())


def _complement(vectors: Float[Tensor, "k r"], rank: int) -> Float[Tensor, "r s"]:
    """Return an orthonormal basis, as columns, of the orthogonal complement of independent vectors."""
    if len(vectors) == 0:
        return torch.eye(rank).double()
    return torch.linalg.svd(vectors / vectors.norm(dim=1, keepdim=True))[2][len(vectors) :].T


def _to_inputs(fit: _Fit, rank: int, basis: Float[Tensor, "r e"], like: Tensor) -> ExactSamples:
    """Keep overdetermined samples; the last coordinate gives label and multiplier."""
    spare = fit.held + fit.duals - (rank - 1)
    kept = torch.nonzero(fit.consistent() & (spare >= 2)).flatten()
    kept = kept[spare[kept].argsort(descending=True, stable=True)]
    inputs = fit.z[kept] @ basis
    last = inputs[:, -1]
    samples, labels = (inputs[:, :-1] / last[:, None]).to(like), (last > 0).long().to(like.device)
    return ExactSamples(samples, last.abs().to(like), labels, spare[kept].to(like.device))


def _layers(model: nn.Module, input_shape: tuple[int, ...] | None) -> tuple[nn.Linear, nn.Linear] | None:
    """Return both layers of a network that is equivalent to them with a ReLU between."""
    dense = [layer for layer in model.modules() if next(layer.parameters(recurse=False), None) is not None]
    if len(dense) != 2 or not all(isinstance(layer, nn.Linear) for layer in dense):
        return None
    chain = from_first_layer(copy_network(model).requires_grad_(False), input_shape)[0]
    if not isinstance(chain, nn.Sequential):
        return None
    first, last = chain[0], chain[-1]
    if not isinstance(first, nn.Linear) or not isinstance(last, nn.Linear):
        return None
    return None if first.bias is None or last.out_features != 1 else (first, last)
