import pytest
import torch
from torch import nn
from torch.func import functional_call

from assay.core import InvalidInputError, named_parameters
from assay.nets import mlp
from assay.reconstruction.kkt import StationarityGap, SurrogateReLU, set_sharpness, start_multipliers
from assay.reconstruction.known_start.path import build_path, dense_layers, read_ends
from assay.reconstruction.known_start.prior import Prior, displacement_prior, population_prior

RANK, POINTS, WHITEN = 3, 4, 0.7


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def ends_of(widths):
    """Return a chain before and after training that moved its first weight by a matrix of low rank."""
    start = mlp(widths, bias="all", generator=generator()).double().requires_grad_(False)
    end = mlp(widths, bias="all", generator=generator()).double().requires_grad_(False)
    for name, value in named_parameters(end).items():
        value += 0.1 * normal(*value.shape, seed=len(name) + len(value))
    first = named_parameters(start)["0.weight"]
    named_parameters(end)["0.weight"].copy_(first + normal(widths[1], RANK) @ normal(RANK, widths[0], seed=1))
    return start, end, read_ends(start, end, share="auto")


@pytest.fixture(params=[(12, 9, 1), (12, 9, 3), (12, 9, 7, 1), (12, 9, 7, 3)], ids=str)
def problem(request):
    start, end, ends = ends_of(request.param)
    assert ends.moved.rank == RANK
    prior = Prior(normal(RANK, seed=2), normal(RANK, seed=3).abs() + 0.1)
    path = build_path(ends, prior=prior, n_points=POINTS, whiten=WHITEN, dtype=torch.float64)
    set_sharpness(path.model, 3.0)
    u = normal(2, 5, RANK, seed=4)
    form = "binary" if request.param[-1] == 1 else "displacement"
    sources = [generator(k) for k in range(2)]
    multipliers = [start_multipliers(form, u, request.param[-1], 0.3, sources) for _ in range(POINTS)]
    multipliers = [one.at([value + 0.1 * k for value in one.raw]) for k, one in enumerate(multipliers)]
    gap = StationarityGap(path.model, goal=path.goal, points=path.points, factors=path.factors)
    return start, end, ends, path, gap, u, multipliers


def naive_sums(start, end, path, u, multipliers):
    """Add up gradients by autograd: a sample at a time, at each point, in the weights that the user has."""
    gates = [SurrogateReLU(3.0) if isinstance(layer, nn.ReLU) else layer for layer in end]
    network, totals = nn.Sequential(*gates).double(), []
    before, after = named_parameters(start), named_parameters(end)
    for restart in range(len(u)):
        total = {name: torch.zeros_like(value) for name, value in before.items()}
        for k, weighted in enumerate(multipliers):
            t = (2 * k + 1) / (2 * POINTS)
            weights = {name: (1 - t) * before[name] + t * after[name] for name in before}
            weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
            for i, coordinates in enumerate(u[restart]):
                outputs = functional_call(network, weights, (coordinates @ path.rows,))
                slopes = torch.autograd.grad(
                    outputs @ weighted.cotangents(outputs.expand(2, 5, -1))[restart, i], [*weights.values()]
                )
                for name, slope in zip(weights, slopes, strict=True):
                    total[name] += slope
        totals.append(total)
    return totals


def test_the_model_is_the_sum_of_gradients_of_single_samples_along_the_path(problem):
    start, end, ends, path, gap, u, multipliers = problem
    sums = dict(zip(gap.names, gap.explained(u, multipliers), strict=True))
    for restart, wanted in enumerate(naive_sums(start, end, path, u, multipliers)):
        wanted[ends.first] = wanted[ends.first] @ torch.linalg.pinv(path.rows)
        for name, value in wanted.items():
            torch.testing.assert_close(sums[name][restart], value, rtol=1e-10, atol=1e-10)


def test_the_gap_is_whitened_in_the_first_layer_and_lacks_the_last_bias(problem):
    start, end, ends, path, gap, u, multipliers = problem
    before, after = named_parameters(start), named_parameters(end)
    goal = {name: after[name] - before[name] for name in after}
    values = torch.linalg.svdvals(goal[ends.first])[:RANK]
    basis = ends.moved.basis
    wanted, total = [], 1 + 0.1 * (len(goal) - 2)
    for sums in naive_sums(start, end, path, u, multipliers):
        rest = {name: sums[name] - goal[name] for name in goal}
        white = [(part @ basis.T * values**-WHITEN).square().sum() for part in (rest[ends.first], goal[ends.first])]
        others = list(goal)[1:-1]
        parts = [0.1 * rest[name].square().sum() / goal[name].square().sum() for name in others]
        wanted.append((white[0] / white[1] + sum(parts)) / total)
    torch.testing.assert_close(gap.measure(u, multipliers), torch.stack(wanted), rtol=1e-9, atol=1e-9)


def test_the_gradients_of_the_gap_are_those_of_its_value(problem):
    *_, gap, u, multipliers = problem
    leaf = u.requires_grad_()
    multipliers = [one.at([value.requires_grad_() for value in one.raw]) for one in multipliers]
    found = gap.gradients(leaf, multipliers)[1]
    wanted = torch.autograd.grad(
        gap(leaf, multipliers).sum(), [leaf, *(value for one in multipliers for value in one.raw)]
    )
    torch.testing.assert_close(found, list(wanted))


def test_candidates_are_samples_in_units_of_the_prior():
    _, _, ends = ends_of((12, 9, 1))
    population = normal(50, 12, seed=6)
    prior = population_prior(population, ends.moved)
    path = build_path(ends, prior=prior, n_points=2, whiten=WHITEN, dtype=torch.float64)
    torch.testing.assert_close(path.centre @ path.rows @ ends.moved.basis.T, (population @ ends.moved.basis.T).mean(0))
    torch.testing.assert_close(path.rows @ ends.moved.basis.T, torch.diag((population @ ends.moved.basis.T).std(0)))


def test_what_did_not_move_has_no_part_in_the_gap():
    start = mlp((12, 9, 3), bias="all", generator=generator()).double().requires_grad_(False)
    end = mlp((12, 9, 3), bias="all", generator=generator()).double().requires_grad_(False)
    named_parameters(end)["0.weight"].add_(normal(9, 1) @ normal(1, 12, seed=1))
    ends = read_ends(start, end, share="auto")
    path = build_path(ends, prior=Prior(normal(1), normal(1).abs()), n_points=2, whiten=WHITEN, dtype=torch.float64)
    assert ends.unmoved == ("0.bias", "2.weight", "2.bias")
    assert [bool((value == 0).all()) for value in path.factors.values()] == [False, True, True, True]


def test_the_displacement_itself_tells_mean_and_spread():
    """Coefficients of equal sign: the mean is then exact, up to its correlation with the coefficients."""
    _, _, ends = ends_of((12, 9, 1))
    samples = 5 + normal(RANK, 12, seed=8)
    basis = torch.linalg.svd(samples, full_matrices=False)[2]
    coefficients = normal(200, RANK, seed=9).abs()
    moved = type(ends.moved)(1.0, 1.0, 99.0, torch.ones(RANK).double(), 0.0, RANK, basis)
    prior = displacement_prior(coefficients @ samples, coefficients.sum(1), moved)
    torch.testing.assert_close(prior.mean @ basis, samples.mean(0), rtol=0.2, atol=0.2)
    assert displacement_prior(coefficients @ samples, None, moved).mean.tolist() == [0] * RANK


def test_a_population_that_does_not_fit_is_refused(as_users_run_it):
    _, _, ends = ends_of((12, 9, 1))
    for population in (normal(5, 7), normal(1, 12), normal(1, 12).expand(4, 12)):
        with pytest.raises(InvalidInputError, match="population"):
            population_prior(population, ends.moved)


REFUSED = {
    "tanh": (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)), "another activation"),
    "convolution": (nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 1)), "Conv2d"),
    "batch-norm": (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)).eval(), "BatchNorm1d"),
    "linear": (nn.Sequential(nn.Linear(4, 3)), "two or more nn.Linear"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_networks_are_refused_in_a_sentence(name):
    network, why = REFUSED[name]
    with pytest.raises(InvalidInputError, match=why):
        dense_layers(network.requires_grad_(False), None)


def test_a_first_layer_that_did_not_move_is_refused():
    start = mlp((4, 3, 1), bias="all", generator=generator())
    end = mlp((4, 3, 1), bias="all", generator=generator()).requires_grad_(False)
    named_parameters(end)["2.weight"].add_(1)
    with pytest.raises(InvalidInputError, match="did not move the first dense layer"):
        read_ends(start, end, share="auto")
