import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, mean_interval, proportion_interval, roc, tpr_at_fpr

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
