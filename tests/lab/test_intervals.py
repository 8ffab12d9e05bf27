import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from assay.lab.intervals import design_effect, proportion, sign, student, wilcoxon

LEVELS = st.sampled_from([0.9, 0.95, 0.9875])


@st.composite
def differences(draw: st.DrawFn) -> np.ndarray:
    """Differences without ties, also between their pairwise means."""
    values = np.random.default_rng(draw(st.integers(0, 10_000))).standard_cauchy(draw(st.integers(6, 14)))
    return values + draw(st.floats(-1, 1))


def rejected_by_signs(values: np.ndarray, level: float) -> bool:
    return scipy.stats.binomtest(int((values > 0).sum()), len(values)).pvalue <= 1 - level


def rejected_by_ranks(values: np.ndarray, level: float) -> bool:
    return scipy.stats.wilcoxon(values, method="exact").pvalue <= 1 - level


@pytest.mark.parametrize(("interval", "rejected"), [(wilcoxon, rejected_by_ranks), (sign, rejected_by_signs)])
@given(values=differences(), level=LEVELS)
def test_the_interval_holds_the_shifts_that_scipys_test_does_not_reject(
    interval: object, rejected: object, values: np.ndarray, level: float
) -> None:
    found = interval(values.tolist(), level)  # type: ignore[operator]
    if found is None:
        assert not rejected(np.arange(1.0, len(values) + 1), level)  # type: ignore[operator]  # the clearest sample
        return
    step = 1e-9 * np.ptp(values)
    for shift, is_inside in [
        (found.low - step, False),
        (found.low + step, True),
        (found.high - step, True),
        (found.high + step, False),
    ]:
        assert rejected(values - shift, level) != is_inside  # type: ignore[operator]


def test_five_pairs_are_too_few_for_ranks_or_signs() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert wilcoxon(values) is None
    assert sign(values) is None
    assert wilcoxon([*values, 6.0]) is not None


def test_the_signed_rank_test_keeps_its_level_with_heavy_tails() -> None:
    # Differences symmetric about zero of Cauchy's law, for which means do not converge. At most 5% of 2000 intervals
    # may miss zero, up to three standard errors.
    draws = np.random.default_rng(0).standard_cauchy((2000, 12))
    found = [wilcoxon(row) for row in draws.tolist()]
    missed = np.mean([interval.low > 0 or interval.high < 0 for interval in found if interval])
    assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


@given(st.integers(1, 400), st.floats(0, 1), LEVELS)
def test_trials_of_one_seed_have_scipys_exact_interval(n: int, share: float, level: float) -> None:
    k = round(share * n)
    exact = scipy.stats.binomtest(k, n).proportion_ci(level, method="exact")
    found = proportion([k / n], [n], level)
    assert (found.mean, found.low, found.high) == pytest.approx((k / n, exact.low, exact.high), abs=1e-12)


def test_trials_of_seeds_that_agree_are_pooled() -> None:
    exact = scipy.stats.binomtest(2, 1500).proportion_ci(0.95, method="exact")
    found = proportion([0.0, 1 / 300, 0.0, 1 / 300, 0.0], [300] * 5)
    assert (found.mean, found.low, found.high) == pytest.approx((2 / 1500, exact.low, exact.high), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(30, 60)), min_size=2, max_size=6))
def test_the_design_effect_is_chi_squared_over_its_degrees_of_freedom(counts: list[tuple[int, int]]) -> None:
    assume(any(k for k, _ in counts) and any(k < n for k, n in counts))
    table = [[k for k, _ in counts], [n - k for k, n in counts]]
    expected = scipy.stats.chi2_contingency(table, correction=False).statistic / (len(counts) - 1)  # type: ignore[attr-defined]
    assert design_effect([k / n for k, n in counts], [n for _, n in counts]) == pytest.approx(max(1, expected))


def test_seeds_that_differ_count_as_fewer_trials() -> None:
    # Two seeds of 0 and 20 in 100: chi-squared 22.2, so that 200 trials count as 9.
    found = proportion([0.0, 0.2], [100, 100])
    assert found.mean == pytest.approx(0.1)
    assert found.low == pytest.approx(scipy.stats.beta.ppf(0.025, 0.9, 9.1), rel=1e-9)
    assert found.high == pytest.approx(scipy.stats.beta.ppf(0.975, 1.9, 8.1), rel=1e-9)


def test_pooled_counts_err_less_than_bare_ones_where_seeds_differ() -> None:
    # Shares of a beta law of mean 0.1 and design effect 2 with 20 trials; 5% is asked for.
    source = np.random.default_rng(0)
    p = source.beta(0.1 * 18, 0.9 * 18, (1000, 5))
    shares = source.binomial(20, p) / 20
    missed = [not (found := proportion(row, [20] * 5)).low <= 0.1 <= found.high for row in shares.tolist()]
    bare = [scipy.stats.binomtest(round(row.sum() * 20), 100, 0.1).pvalue < 0.05 for row in shares]
    assert np.mean(missed) < 0.1 < np.mean(bare)


def test_equal_values_are_a_point() -> None:
    found = student([0.1] * 3)
    assert found is not None
    assert (found.low, found.mean, found.high) == (0.1, 0.1, 0.1)
    assert student([0.1]) is None
