import copy
import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from assay.core import DenseOperator, HessianOperator, InvalidInputError, NumericalError, cross_entropy, seeded
from assay.landscape import LanczosLR
from assay.landscape.learning_rates import polyak_heavy_ball
from assay.nets import mlp

CURVATURES = torch.tensor([1.0, 2.0, 5.0, 9.0, 16.0], dtype=torch.float64)


def on_quadratic(matrix=None, *, groups=1, sgd=None, **options):
    """Return an optimiser of as many parameters as the matrix has rows, and its schedule."""
    matrix = CURVATURES.diag() if matrix is None else matrix
    theta = [nn.Parameter(torch.ones(len(matrix) // groups, dtype=torch.float64)) for _ in range(groups)]
    parts = [{"params": [value], "lr": 10.0**-place} for place, value in enumerate(theta)]
    optimizer = SGD(parts, lr=1.0, **(sgd or {}))
    return optimizer, LanczosLR(optimizer, DenseOperator(matrix), **({"margin": 1.0} | options))


def test_no_pair_contracts_faster_than_polyaks():
    """The spectral radius of the heavy ball over all curvatures in [1, 16], on a grid of rates and momenta."""
    lr, momentum = polyak_heavy_ball(1.0, 16.0)
    assert (lr, momentum) == pytest.approx((4 / 25, 9 / 25))
    grid = torch.linspace(1, 16, 61, dtype=torch.float64)

    def radius(rate, rho):
        step = torch.zeros(len(grid), 2, 2, dtype=torch.float64)
        step[:, 0, 0], step[:, 0, 1], step[:, 1, 0] = 1 + rho - rate * grid, -rho, 1.0
        return torch.linalg.eigvals(step).abs().max().item()

    best = min(
        radius(lr * a, b) for a in torch.linspace(0.5, 1.5, 21).tolist() for b in torch.linspace(0, 0.9, 31).tolist()
    )
    assert radius(lr, momentum) == pytest.approx(math.sqrt(momentum), rel=1e-6)
    assert radius(lr, momentum) <= best + 1e-6


def test_the_schedule_finds_polyaks_pair_on_a_quadratic():
    optimizer, schedule = on_quadratic()
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == pytest.approx(polyak_heavy_ball(1.0, 16.0))
    assert (schedule.lambda_min, schedule.lambda_max) == pytest.approx((1.0, 16.0))


def test_the_margin_scales_the_rate_and_leaves_the_momentum():
    whole, part = (on_quadratic(margin=margin)[0].param_groups[0] for margin in (1.0, 0.25))
    assert part["lr"] == pytest.approx(0.25 * whole["lr"])
    assert part["momentum"] == pytest.approx(whole["momentum"])


def test_weight_decay_is_a_curvature():
    group = on_quadratic(sgd={"weight_decay": 9.0})[0].param_groups[0]
    assert (group["lr"], group["momentum"]) == pytest.approx(polyak_heavy_ball(10.0, 25.0))


def test_negative_and_weightless_ritz_values_are_left_out():
    matrix = torch.tensor([-5.0, 4.0, 9.0], dtype=torch.float64).diag()
    assert on_quadratic(matrix)[1].lambda_min == pytest.approx(4.0)
    # Two thirds of a random vector's weight lie on the two curvatures of 9 on average, which a share of 0.5 keeps.
    matrix = torch.tensor([1.0, *[9.0] * 99], dtype=torch.float64).diag()
    assert on_quadratic(matrix)[1].lambda_min == pytest.approx(1.0)
    assert on_quadratic(matrix, min_weight=0.5)[1].lambda_min == pytest.approx(9.0)


def test_the_floor_bounds_the_smallest_curvature():
    matrix = torch.tensor([1e-9, 1.0], dtype=torch.float64).diag()
    assert on_quadratic(matrix, floor=0.01)[1].lambda_min == pytest.approx(0.01)


def test_groups_keep_the_ratio_of_their_rates():
    optimizer, _ = on_quadratic(torch.tensor([1.0, 9.0, 9.0, 1.0], dtype=torch.float64).diag(), groups=2)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.25, 0.025])


def test_curvature_is_averaged_exponentially_and_read_every_so_many_steps():
    scales, asked = [1.0, 4.0, 16.0], []

    def curvature():
        asked.append(scales[len(asked)])
        return DenseOperator(asked[-1] * CURVATURES.diag())

    theta = nn.Parameter(torch.ones(5, dtype=torch.float64))
    optimizer = SGD([theta], lr=1.0)
    schedule = LanczosLR(optimizer, curvature, every=3, smoothing=0.75, margin=1.0)
    seen = []
    for _ in range(7):
        seen.append(schedule.lambda_max)
        optimizer.step()
        schedule.step()
    second = 0.75 * 16 + 0.25 * 64
    assert seen == pytest.approx([16.0] * 3 + [second] * 3 + [0.75 * second + 0.25 * 256])
    assert asked == scales


def test_without_positive_curvature_the_optimisers_own_values_stay():
    group = on_quadratic(-CURVATURES.diag(), sgd={"momentum": 0.3})[0].param_groups[0]
    assert (group["lr"], group["momentum"]) == (1.0, 0.3)


def test_a_checkpoint_goes_on_with_the_same_random_vectors():
    def runs(optimizer, schedule, n):
        for _ in range(n):
            optimizer.step()
            schedule.step()
            yield optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]

    matrix = torch.linspace(0.1, 9, 40, dtype=torch.float64).diag()  # five steps do not resolve it: vectors matter
    options = {"n_iter": 5, "every": 2}
    first = on_quadratic(matrix, **options)
    list(runs(*first, 5))
    state = copy.deepcopy(first[0].state_dict()), copy.deepcopy(first[1].state_dict())
    other = on_quadratic(matrix, generator=seeded(7), **options)
    other[0].load_state_dict(state[0])
    other[1].load_state_dict(state[1])
    assert list(runs(*other, 6)) == list(runs(*first, 6))
    assert not {"optimizer", "curvature", "generator"} & state[1].keys()


def test_a_network_is_measured_on_its_batch_and_left_as_it_was():
    model = mlp((4, 3, 3), generator=seeded(0)).double().train()
    x, y = torch.randn(8, 4, generator=seeded(1), dtype=torch.float64), torch.arange(8) % 3
    operator = HessianOperator(model, x, y, cross_entropy)
    optimizer = SGD(model.parameters(), lr=1.0)
    before = copy.deepcopy(model.state_dict())
    schedule = LanczosLR(optimizer, operator, n_iter=27, margin=1.0)
    values = torch.linalg.eigvalsh(operator.to_dense())
    assert schedule.lambda_max == pytest.approx(values[-1].item(), rel=1e-6)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every"),
        ({"n_iter": 0}, "n_iter"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"min_weight": -0.1}, "min_weight"),
        ({"margin": 0.0}, "margin"),
        ({"floor": 0.0}, "floor"),
        ({"sgd": {"momentum": 0.9, "nesterov": True}}, "nesterov"),
        ({"sgd": {"dampening": 0.5}}, "dampening"),
        ({"sgd": {"maximize": True}}, "maximize"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        on_quadratic(**options)


def test_other_optimisers_are_refused():
    theta = nn.Parameter(torch.ones(5))
    with pytest.raises(InvalidInputError, match="Adam is not"):
        LanczosLR(Adam([theta]), DenseOperator(torch.eye(5)))


def test_the_curvature_of_other_parameters_is_refused():
    with pytest.raises(InvalidInputError, match="that of 5 parameters, and the optimiser moves 3"):
        LanczosLR(SGD([nn.Parameter(torch.ones(3))], lr=1.0), DenseOperator(CURVATURES.diag()))


def test_vanished_curvature_is_an_error():
    with pytest.raises(NumericalError, match="has fallen to"):
        on_quadratic(1e-33 * CURVATURES.diag())


@pytest.mark.parametrize("given", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf)])
def test_curvatures_that_are_none_are_refused(given):
    with pytest.raises(InvalidInputError):
        polyak_heavy_ball(*given)
