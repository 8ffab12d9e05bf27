import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import binom

from assay.core import (
    InvalidInputError,
    auc_interval,
    mean_interval,
    order_statistic_index,
    proportion_interval,
    roc,
    seeded,
    tpr_at_fpr,
)

LEVELS = st.floats(0.5, 0.999)
SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


def test_student_interval_by_hand() -> None:
    interval = mean_interval([1.0, 2.0, 4.0])
    half = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)
    assert interval.mean == pytest.approx(7 / 3)
    assert interval.low == pytest.approx(7 / 3 - half)
    assert interval.high == pytest.approx(7 / 3 + half)


def test_interval_covers_at_its_level() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 4)).tolist()
    covered = np.mean([interval.low <= 0 <= interval.high for interval in map(mean_interval, draws)])
    # Binomial standard error 0.0034: four of them.
    assert abs(covered - 0.95) < 0.014


def test_exact_proportion_interval_at_the_edges() -> None:
    assert proportion_interval(0, 10).high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert proportion_interval(10, 10).low == pytest.approx(0.025 ** (1 / 10))


@given(members=SCORES, nonmembers=SCORES)
def test_auc_is_the_chance_of_ranking_a_member_higher(members: list[float], nonmembers: list[float]) -> None:
    wins = [(m > n) + 0.5 * (m == n) for m in members for n in nonmembers]
    assert roc(members, nonmembers).auc == pytest.approx(np.mean(wins))


@given(members=SCORES, nonmembers=SCORES, fpr=st.floats(0.01, 0.99))
def test_tpr_is_that_of_the_best_threshold(members: list[float], nonmembers: list[float], fpr: float) -> None:
    best = 0.0
    for threshold in [*members, *nonmembers, math.inf]:
        if np.mean([n >= threshold for n in nonmembers]) <= fpr:
            best = max(best, float(np.mean([m >= threshold for m in members])))
    assert tpr_at_fpr(members, nonmembers, fpr) == pytest.approx(best)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_too_few_or_broken_values_are_errors(values: list[float]) -> None:
    with pytest.raises(InvalidInputError):
        mean_interval(values)


@given(st.floats(0, 1), st.integers(2, 200), st.integers(2, 200))
def test_the_ends_of_the_auc_interval_solve_its_equation(auc: float, n_positive: int, n_negative: int) -> None:
    interval = auc_interval(auc, n_positive, n_negative)
    assert 0 <= interval.low <= auc <= interval.high <= 1
    n = (n_positive + n_negative) / 2 - 1
    for end in (interval.low, interval.high):
        if 1e-6 < end < 1 - 1e-6:
            spread = 1 + n * (1 - end) / (2 - end) + n * end / (1 + end)
            sigma = math.sqrt(end * (1 - end) * spread / (n_positive * n_negative))
            assert abs(auc - end) / sigma == pytest.approx(1.959964, abs=1e-3)


def test_the_auc_interval_covers_nineteen_times_in_twenty() -> None:
    # Normal scores one standard deviation apart. 200 draws at 95%: 4 standard errors are 6.2%.
    truth, covered = 0.5 * (1 + math.erf(0.5)), 0
    for draws in torch.randn(200, 50, generator=seeded(0), dtype=torch.float64):
        wins = (1 + draws[:20, None] > draws[None, 20:]).double().mean().item()
        interval = auc_interval(wins, 20, 30)
        covered += interval.low <= truth <= interval.high
    assert covered / 200 == pytest.approx(0.95, abs=0.062)


def exact_chance(n: int, k: int, p: float) -> Fraction:
    """Pr[Bin(n, p) >= k] in whole numbers."""
    q = Fraction(p)
    return sum((math.comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k, n + 1)), Fraction(0))


@given(n=st.integers(1, 25), p=st.floats(0, 1), confidence=LEVELS)
def test_rank_is_that_of_exact_arithmetic(n: int, p: float, confidence: float) -> None:
    k = order_statistic_index(n, p, confidence)
    slack = Fraction(1, 10**9)  # chances that are the confidence but for rounding may fall on either side
    assert k == 0 or exact_chance(n, k, p) >= Fraction(confidence) - slack
    assert k == n or exact_chance(n, k + 1, p) < Fraction(confidence) + slack


@given(n=st.integers(1, 5000), p=st.floats(1e-6, 1 - 1e-6), confidence=LEVELS)
def test_rank_is_that_of_a_search_over_the_incomplete_beta_function(n: int, p: float, confidence: float) -> None:
    ranks = torch.arange(1, n + 1).numpy()
    allowed = ranks[betainc(ranks, n - ranks + 1, p) >= confidence]
    expected = allowed.max() if len(allowed) else 0
    got = order_statistic_index(n, p, confidence)
    assert got == expected or abs(binom.sf(max(got, expected) - 1, n, p) - confidence) < 1e-9


def test_rank_grows_in_share_with_samples() -> None:
    shares = [order_statistic_index(n, 0.2) / n for n in (20, 100, 1000, 10000)]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.2, abs=0.011)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: order_statistic_index(0, 0.5), "n must be a whole number of at least 1"),
        (lambda: order_statistic_index(5, 1.5), "quantile"),
        (lambda: order_statistic_index(5, 0.5, 1.0), "confidence"),
        (lambda: auc_interval(0.5, 0, 3), "n_positive"),
        (lambda: auc_interval(1.5, 3, 3), "auc"),
        (lambda: auc_interval(0.5, 3, 3, 1.0), "level"),
    ],
)
def test_arguments_out_of_range_are_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()
