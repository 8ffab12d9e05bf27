import math
from itertools import combinations

import numpy as np
import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.landscape import batch_hessian_extremes
from assay.landscape.learning_rates import batch_gauss_newton_extremes, effective_batch_size


@pytest.mark.parametrize(("n", "batch"), [(5, 2), (6, 5), (4, 1)])
def test_the_effective_batch_size_is_that_of_the_exact_variance(n, batch):
    """The variance of a mean over all subsets, by enumeration, is the sample variance over b."""
    values = np.arange(n) ** 2.0
    means = [np.mean(some) for some in combinations(values, batch)]
    assert np.var(means) == pytest.approx(values.var(ddof=1) / effective_batch_size(batch, n))


def test_the_whole_set_has_no_noise():
    assert effective_batch_size(7, 7) == math.inf
    assert effective_batch_size(7) == 7.0


@pytest.mark.parametrize(("batch", "n"), [(0, 5), (6, 5), (1, 0)])
def test_sizes_that_are_none_are_refused(batch, n):
    with pytest.raises(InvalidInputError):
        effective_batch_size(batch, n)


def top_of_noisy(full, q, seed, size=600):
    draws = torch.randn(size, size, generator=seeded(seed), dtype=torch.float64)
    noise = (draws + draws.T) / math.sqrt(2) * math.sqrt(q / size)
    noise[0, 0] += full
    values = torch.linalg.eigvalsh(noise)
    return values[0].item(), values[-1].item()


@pytest.mark.parametrize(("full", "q"), [(5.0, 4.0), (3.0, 8.0), (1.0, 4.0), (0.0, 1.0), (-1.0, 1.0)])
def test_a_spiked_wigner_matrix_has_the_predicted_ends(full, q):
    """One matrix of 600 rows: the ends fluctuate by under 2 percent of sqrt(q), of which 5 percent are allowed."""
    lowest, highest = top_of_noisy(full, q, 0)
    assert batch_hessian_extremes(full, q) == pytest.approx(highest, abs=0.05 * math.sqrt(q) + 0.02 * highest)
    mirrored = batch_hessian_extremes(full, q, end="smallest")
    assert mirrored == pytest.approx(lowest, abs=0.05 * math.sqrt(q) + 0.02 * abs(lowest))
    assert mirrored == -batch_hessian_extremes(-full, q)


@pytest.mark.parametrize("full", [2.0, 0.3])
def test_the_formula_is_continuous_and_never_below_the_full_eigenvalue(full):
    values = [batch_hessian_extremes(full, q) for q in np.linspace(0, 9, 400)]
    assert values[0] == full
    assert min(np.diff(values)) >= 0
    edge = batch_hessian_extremes(full, full**2 * (1 - 1e-9)), batch_hessian_extremes(full, full**2 * (1 + 1e-9))
    assert edge[0] == pytest.approx(edge[1])


@pytest.mark.parametrize(("spike", "noise", "ratio"), [(6.0, 1.0, 0.5), (3.0, 0.5, 2.0), (1.2, 1.0, 1.0)])
def test_a_spiked_covariance_has_the_predicted_top(spike, noise, ratio):
    """Mean of four matrices of 500 features, whose standard error is under 3 percent: 8 percent are allowed."""
    p = 500
    b, tops = round(p / ratio), []
    for seed in range(4):
        x = math.sqrt(noise) * torch.randn(b, p, generator=seeded(seed), dtype=torch.float64)
        x[:, 0] *= math.sqrt(spike / noise)
        tops.append(torch.linalg.matrix_norm(x, 2).square().item() / b)
    assert batch_gauss_newton_extremes(spike, noise, p / b) == pytest.approx(np.mean(tops), rel=0.08)


def test_far_above_the_bulk_the_excess_is_the_trace_over_b():
    assert batch_gauss_newton_extremes(1e6, 2.0, 3.0) - 1e6 == pytest.approx(6.0, rel=1e-4)


@pytest.mark.parametrize("given", [(math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_numbers_outside_the_additive_model_are_refused(given):
    with pytest.raises(InvalidInputError):
        batch_hessian_extremes(*given)


@pytest.mark.parametrize("given", [(1.0, 2.0, 1.0), (0.0, 1.0, 1.0), (1.0, 0.5, -1.0)])
def test_numbers_outside_the_covariance_model_are_refused(given):
    with pytest.raises(InvalidInputError):
        batch_gauss_newton_extremes(*given)
