from itertools import combinations

import pytest
import torch
from torch import nn

from assay.core import GaussNewtonOperator, HessianOperator, InvalidInputError, cross_entropy, seeded, squared_error
from assay.landscape import estimate_hessian_noise
from assay.landscape.learning_rates import HessianNoise, effective_batch_size
from assay.nets import mlp


@pytest.fixture(scope="module")
def small():
    """A network of 29 parameters and 12 samples, with the Hessian of each sample."""
    model = mlp((4, 3, 3), generator=seeded(0)).double()
    x = torch.randn(12, 4, generator=seeded(1), dtype=torch.float64)
    y = torch.arange(12) % 3
    each = torch.stack([HessianOperator(model, x[[i]], y[[i]], cross_entropy).to_dense() for i in range(12)])
    return model, x, y, each


def test_the_size_of_the_noise_is_the_mean_over_all_batches(small):
    """q is P sigma^2 / b with the variance over all batches of two, by enumeration; 60 batches estimate it."""
    model, x, y, each = small
    full = each.mean(0)
    squares = [(each[list(some)].mean(0) - full).square().sum() for some in combinations(range(12), 2)]
    exact = (torch.stack(squares).mean() / len(full)).item()
    found = estimate_hessian_noise(model, x, y, loss=cross_entropy, batch_size=2, n_batches=60, probes=8, n_iter=1)
    assert found.q == pytest.approx(exact, abs=4 * found.q_error)
    assert found.q_error < 0.15 * exact
    pairs = [each[list(some)].mean(0) - full for some in combinations(range(12), 5)]
    other = torch.stack([pair.square().sum() for pair in pairs]).mean().item() / len(full)
    assert found.q_at(5) / found.q == pytest.approx(other / exact)


@pytest.mark.parametrize(("matrix", "kind"), [("hessian", HessianOperator), ("gauss_newton", GaussNewtonOperator)])
def test_the_ends_are_those_of_the_dense_matrices(small, matrix, kind):
    model, x, y, _ = small
    options = {"loss": cross_entropy, "batch_size": 11, "n_batches": 5, "n_iter": 29, "matrix": matrix}
    found = estimate_hessian_noise(model, x, y, **options)
    whole = torch.linalg.eigvalsh(kind(model, x, y, cross_entropy).to_dense())
    assert found.n_parameters == len(whole)
    assert (found.smallest, found.largest) == pytest.approx((whole[0].item(), whole[-1].item()), rel=1e-6, abs=1e-9)
    rest = [torch.arange(12) != left_out for left_out in range(12)]
    ends = torch.stack(
        [torch.linalg.eigvalsh(kind(model, x[some], y[some], cross_entropy).to_dense()) for some in rest]
    )
    assert (found.batch_largest[:, None] - ends[:, -1]).abs().min(1).values.max() < 1e-8
    assert (found.batch_smallest[:, None] - ends[:, 0]).abs().min(1).values.max() < 1e-8


def test_least_squares_has_the_curvature_of_its_inputs():
    x = torch.randn(30, 3, generator=seeded(0), dtype=torch.float64)
    layer = nn.Linear(3, 1, bias=False).double()
    found = estimate_hessian_noise(layer, x, x.sum(1), loss=squared_error, batch_size=10, n_iter=3)
    values = torch.linalg.eigvalsh(2 * x.T @ x / 30)
    assert (found.smallest, found.largest) == pytest.approx((values[0].item(), values[-1].item()))


def measured(**changes):
    tops = torch.tensor([3.0, 5.0])
    given = {"batch_size": 10, "dataset_size": 110, "largest": 2.0, "q": 1.5, "batch_largest": tops} | changes
    return HessianNoise("hessian", n_parameters=9, smallest=0.0, batch_smallest=0 * tops, q_error=0.1, **given)


def test_the_fit_goes_through_what_was_measured():
    found = measured()
    assert found.slope == pytest.approx(2.0 * 11.0)
    assert found.largest_at(10) == pytest.approx(4.0)
    assert found.largest_at(110) == 2.0
    assert found.largest_at(55) == pytest.approx(2.0 + 22 / effective_batch_size(55, 110))
    assert found.largest_at(10, dataset_size=10**9) == pytest.approx(2.0 + 22 / 10, rel=1e-6)


def test_independent_noise_follows_the_theorem():
    found = measured()
    assert found.largest_at(10, prediction="iid") == pytest.approx(2.0 + 1.5 / 2.0)
    assert found.largest_at(1, prediction="iid") == pytest.approx(2 * found.q_at(1) ** 0.5)
    assert found.largest_at(110, prediction="iid") == 2.0


def test_batches_that_happen_to_lie_below_give_no_negative_slope():
    assert measured(batch_largest=torch.tensor([1.0, 1.5])).largest_at(3) == 2.0


def test_a_measurement_prints_as_one_paragraph():
    said = str(measured())
    assert "2 on all 110 samples and 4 on average over 2 batches of 10" in said
    assert "2.75" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 12}, "no noise"),
        ({"batch_size": 0}, "batch_size"),
        ({"n_batches": 1}, "n_batches"),
        ({"probes": 0}, "probes"),
    ],
)
def test_options_out_of_range_are_refused(small, changes, message):
    model, x, y, _ = small
    with pytest.raises(InvalidInputError, match=message):
        estimate_hessian_noise(model, x, y, **({"loss": cross_entropy, "batch_size": 3} | changes))
