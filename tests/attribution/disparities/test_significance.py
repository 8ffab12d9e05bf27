import itertools

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest

from assay.attribution import bootstrap_gap, explanation_disparity
from assay.core import InvalidInputError, seeded


def explained(seed, n=60, shift=0.0, n_groups=2):
    source = np.random.default_rng(seed)
    groups = np.arange(n) % n_groups
    p = source.random(n)
    return p, p + 0.1 * source.normal(size=n) + shift * (groups == 0), groups


def test_the_gap_is_that_of_the_report():
    p, local, groups = explained(0, n_groups=4)
    report = explanation_disparity(p, local, groups)
    for metric, gap in itertools.product(("residual", "accuracy"), ("mean", "max")):
        found = bootstrap_gap(p, local, groups, metric=metric, gap=gap, n_bootstrap=5, n_permutations=5)
        assert found.gap == pytest.approx((report.mean_gap if gap == "mean" else report.max_gap)[metric])
        assert found.by_group == pytest.approx(getattr(report, metric))


def test_the_probability_is_that_of_all_shuffles_of_few_samples():
    p, local, groups = explained(1, n=8, shift=0.1)
    values = np.abs(p - local)
    observed = abs(values[groups == 0].mean() - values[groups == 1].mean())
    chosen = [np.isin(np.arange(8), rows) for rows in itertools.combinations(range(8), 4)]
    exact = np.array([abs(values[kept].mean() - values[~kept].mean()) for kept in chosen])
    found = bootstrap_gap(p, local, groups, n_permutations=4000, n_bootstrap=1, generator=seeded(1))
    share = (exact >= observed - 1e-12).mean()
    assert binomtest(round(found.p_value * 4001) - 1, 4000, share).pvalue > 1e-3
    assert found.null_mean == pytest.approx(exact.mean(), abs=5 * exact.std() / 4000**0.5)


def test_the_probability_is_uniform_where_groups_mean_nothing():
    found = [bootstrap_gap(*explained(s), n_permutations=199, n_bootstrap=1).p_value for s in range(100)]
    assert kstest(found, "uniform").pvalue > 1e-3


def test_the_interval_is_the_quantiles_of_resamples_within_groups():
    p, local, groups = explained(2, n=30, shift=0.3)
    found = bootstrap_gap(p, local, groups, n_bootstrap=4000, n_permutations=1)
    source, values = np.random.default_rng(0), np.abs(p - local)
    parts = [values[groups == 0], values[groups == 1]]
    means = [source.choice(part, (20_000, len(part))).mean(1) for part in parts]
    low, high = np.quantile(np.abs(means[0] - means[1]), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_blocks_do_not_change_the_answer(monkeypatch):
    given = explained(3, shift=0.05)
    whole = bootstrap_gap(*given, n_bootstrap=50, n_permutations=50, generator=seeded(2))
    monkeypatch.setattr("assay.attribution.disparities.significance._ENTRIES", 60 * 7)
    parts = bootstrap_gap(*given, n_bootstrap=50, n_permutations=50, generator=seeded(2))
    assert parts.gap == whole.gap
    assert parts.null_mean == pytest.approx(whole.null_mean, rel=0.5)


def test_one_group_and_wrong_options_are_refused():
    with pytest.raises(InvalidInputError, match="two groups"):
        bootstrap_gap(torch.rand(5), torch.rand(5), torch.zeros(5))
    with pytest.raises(InvalidInputError, match="n_bootstrap must be"):
        bootstrap_gap(*explained(0), n_bootstrap=0)
