"""Evidence that is judged look by look."""

import numpy as np
import pytest
import scipy.stats

from assay.lab.evidence import level, weigh

LOOKS = (5, 8, 12, 20)


def test_the_error_is_spent_over_the_looks_in_proportion_to_the_seeds() -> None:
    assert [level(LOOKS, n) for n in LOOKS] == pytest.approx([0.9875, 0.9925, 0.99, 0.98])
    assert sum(1 - level(LOOKS, n) for n in LOOKS) == pytest.approx(0.05)
    assert level((), 7) == 0.95


def decide_by_looks(values: np.ndarray, error_at: object) -> np.ndarray:
    """Compare Student's interval with a bar of 0 at each look, by SciPy; the first that decides counts."""
    found = np.zeros(len(values), int)
    for n in LOOKS:
        seen = values[:, :n]
        error = 1 - error_at(n)  # type: ignore[operator]
        low, high = scipy.stats.t.interval(1 - error, n - 1, seen.mean(1), scipy.stats.sem(seen, axis=1))
        found[(found == 0) & (low >= 0)] = 1
        found[(found == 0) & (high < 0)] = -1
    return found


@pytest.mark.parametrize("law", ["normal", "t"])
def test_all_looks_together_keep_the_error_at_the_bar(law: str) -> None:
    # 20 000 runs whose truth is at the bar: about 4% are decided, of normal values, within 0.15 points.
    source = np.random.default_rng(0)
    values = source.standard_normal((20_000, 20)) if law == "normal" else source.standard_t(3, (20_000, 20))
    found = decide_by_looks(values, lambda n: level(LOOKS, n))
    assert np.mean(found == 1) <= 0.025
    assert np.mean(found == -1) <= 0.025
    assert np.mean(decide_by_looks(values, lambda n: 0.95) != 0) > 0.08  # what looking without a plan does
    words = {1: "holds", -1: "fails", 0: "undecided"}
    for row, verdict in zip(values[:200], found, strict=False):
        assert weigh("C1", row, what="w", at_least=0, looks=LOOKS).verdict == words[verdict]


def test_the_first_look_that_decides_counts_and_later_seeds_are_left_out() -> None:
    clear, turn = [1.0, 1.1, 0.9, 1.0, 1.05], [-9.0, -9.1, -9.2]
    for values in (clear, clear + turn):
        found = weigh("C1", values, what="w", at_least=0, looks=LOOKS)
        assert (found.verdict, found.values) == ("holds", tuple(clear))
    vague = [1.0, -1.0, 2.0, -2.0, 0.5]
    assert weigh("C1", vague, what="w", at_least=0, looks=LOOKS).verdict == "undecided"
    later = weigh("C1", vague + [-50.0, -51.0, -50.5] * 5, what="w", at_least=0, looks=LOOKS)
    assert (later.verdict, len(later.values)) == ("fails", 12)


def test_counts_and_pairs_are_judged_look_by_look_too() -> None:
    counts = weigh("C1", [0] * 20, of=50, what="w", at_most=0.01, looks=LOOKS)
    # None of 250, 400, 600 and 1000 at 98.75%, 99.25%, 99% and 98%: the upper end first falls below 1% at 600.
    assert 1 - 0.00375 ** (1 / 400) > 0.01 > 1 - 0.005 ** (1 / 600)
    assert (counts.verdict, len(counts.values), counts.trials) == ("holds", 12, (50,) * 12)
    # By signs, 8 of 8 have p = 2/256, above 0.75%; 12 of 12 have less than 1%.
    pairs = weigh("C1", np.arange(1.0, 21.0), test="sign", what="w", at_least=0, looks=LOOKS)
    assert (pairs.verdict, len(pairs.values)) == ("holds", 12)
