import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, NumericalError
from assay.lab.evidence import (
    Bar,
    Evidence,
    evidence_from_json,
    evidence_to_json,
    judge,
    not_tested,
    weigh,
)

# Mean 2, standard deviation 1, three values: half width t_{0.975, 2} / sqrt(3). With two degrees of freedom
# Student's quantile has the closed form (2p - 1) / sqrt(2p(1 - p)); with one it is tan(pi (p - 1/2)).
VALUES = [1.0, 2.0, 3.0]
HALF = 0.95 / math.sqrt(2 * 0.975 * 0.025) / math.sqrt(3)


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [
        ({"at_least": 2 - HALF - 1e-9}, "holds"),
        ({"at_least": 2 - HALF + 1e-9}, "undecided"),
        ({"at_least": 2.0}, "undecided"),
        ({"at_least": 2 + HALF - 1e-9}, "undecided"),
        ({"at_least": 2 + HALF + 1e-9}, "fails"),
        ({"at_most": 2 + HALF + 1e-9}, "holds"),
        ({"at_most": 2 + HALF - 1e-9}, "undecided"),
        ({"at_most": 2 - HALF + 1e-9}, "undecided"),
        ({"at_most": 2 - HALF - 1e-9}, "fails"),
        ({}, "reported"),
    ],
)
def test_the_whole_student_interval_must_clear_the_bar(bar: dict, verdict: str) -> None:
    evidence = weigh("C1", VALUES, what="a number", **bar)
    assert evidence.verdict == verdict
    assert evidence.interval is not None
    assert evidence.interval.low == pytest.approx(2 - HALF, abs=1e-10)
    assert evidence.interval.high == pytest.approx(2 + HALF, abs=1e-10)
    assert evidence.mean == 2.0


def test_two_seeds_widen_the_interval_by_their_t() -> None:
    half = math.tan(math.pi * 0.475) * 0.5  # t_{0.975, 1} s / sqrt(2) with s = 1 / sqrt(2)
    assert weigh("C1", [0.0, 1.0], what="w", at_least=0.5 - half - 1e-9).verdict == "holds"
    assert weigh("C1", [0.0, 1.0], what="w", at_least=0.5 - half + 1e-9).verdict == "undecided"


@pytest.mark.parametrize(
    ("value", "bar", "verdict"),
    [
        (0.5, {"at_least": 0.5}, "holds"),
        (0.5, {"at_most": 0.5}, "holds"),
        (0.49, {"at_least": 0.5}, "fails"),
        (0.51, {"at_most": 0.5}, "fails"),
        (np.float32(0.5), {"at_least": 0.5}, "holds"),
        (torch.tensor(0.5), {"at_least": 0.5}, "holds"),
        (1, {"at_least": 1}, "holds"),
        ([0.5], {"at_least": 0.5}, "holds"),
    ],
)
def test_one_value_is_compared_as_a_point(value: object, bar: dict, verdict: str) -> None:
    evidence = weigh("C1", value, what="a number", **bar)
    assert evidence.verdict == verdict
    assert evidence.interval is None


def test_equal_values_at_the_bar_are_not_decided_by_rounding() -> None:
    assert sum([0.1] * 3) / 3 > 0.1  # the mean of equal numbers is off by a bit
    assert weigh("C1", [0.1] * 3, what="w", at_most=0.1).verdict == "holds"
    assert weigh("C1", [0.1] * 3, what="w", at_least=0.1).verdict == "holds"


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6),
    st.floats(-1e6, 1e6),
)
def test_mirroring_values_and_bar_keeps_the_verdict(values: list[float], bar: float) -> None:
    above = weigh("C1", values, what="w", at_least=bar)
    below = weigh("C1", [-value for value in values], what="w", at_most=-bar)
    assert above.verdict == below.verdict


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"values": []}, InvalidInputError, "no value"),
        ({"values": 1.0, "what": " "}, InvalidInputError, "without what="),
        ({"values": 1.0, "at_least": 0, "at_most": 2}, InvalidInputError, "two bars"),
        ({"values": [1.0, math.nan]}, NumericalError, "nan"),
        ({"values": math.inf}, NumericalError, "inf"),
        ({"values": [1.5], "of": 10}, InvalidInputError, "whole numbers"),
        ({"values": [11], "of": 10}, InvalidInputError, "whole numbers"),
        ({"values": [1, 2], "of": [10, 11, 12]}, InvalidInputError, "whole numbers"),
        ({"values": [0], "of": 0}, InvalidInputError, "whole numbers"),
        ({"values": [0, 0], "of": [9.5, 9]}, InvalidInputError, "whole numbers"),
        ({"values": [1], "of": 10, "test": "sign"}, InvalidInputError, "of= or test="),
        ({"values": 1.0, "at_least": math.nan}, NumericalError, "nan"),
    ],
)
def test_bad_measurements_are_refused(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        weigh("C1", **{"what": "w", **arguments})


def test_an_untested_claim_needs_its_reason() -> None:
    assert not_tested("C1", "too large").verdict == "not tested at this scale"
    with pytest.raises(InvalidInputError, match="why"):
        not_tested("C1", " ")


HOLDS = weigh("C1", 1.0, what="a", at_least=0)
FAILS = weigh("C1", 1.0, what="b", at_least=2)
UNDECIDED = weigh("C1", VALUES, what="c", at_least=2)
REPORTED = weigh("C1", 1.0, what="d")
UNTESTED = not_tested("C1", "too large", what="e")
GATED = not_tested("C1", "too large", what="f", bar=Bar("at_least", 1.0))


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ([HOLDS, FAILS, UNDECIDED, GATED], "fails"),
        ([HOLDS, UNDECIDED, GATED], "undecided"),
        ([HOLDS, GATED], "not tested at this scale"),
        ([HOLDS, HOLDS], "holds"),
        # What has no bar never decides...
        ([HOLDS, UNTESTED, REPORTED], "holds"),
        ([FAILS, UNTESTED], "fails"),
        ([UNDECIDED, UNTESTED], "undecided"),
        # ... and where nothing has one, nothing is decided.
        ([REPORTED, UNTESTED], "not tested at this scale"),
        ([UNTESTED], "not tested at this scale"),
        ([REPORTED], "reported"),
    ],
)
def test_a_claim_has_the_worst_verdict_of_its_evidence_with_a_bar(evidence: list[Evidence], verdict: str) -> None:
    assert judge(evidence) == judge(reversed(evidence)) == verdict


def test_the_clopper_pearson_interval_of_all_trials_must_clear_the_bar() -> None:
    # None of n: the upper end solves (1 - p)^n = 0.025.
    high = 1 - 0.025 ** (1 / 1500)
    for bar, verdict in [(high + 1e-9, "holds"), (high - 1e-9, "undecided"), (0.0, "undecided")]:
        assert weigh("C1", [0] * 5, of=300, what="missed", at_most=bar).verdict == verdict
    assert weigh("C1", [2, 4], of=[100, 200], what="missed", at_most=0.001).verdict == "fails"
    found = weigh("C1", torch.tensor([3, 1]), of=np.array([100, 200]), what="missed")
    assert (found.values, found.trials, found.mean) == ((0.03, 0.005), (100, 200), pytest.approx(4 / 300))


def test_one_seed_of_counts_has_an_interval() -> None:
    exact = scipy.stats.binomtest(9, 10).proportion_ci(0.95, method="exact")
    assert weigh("C1", 9, of=10, what="hits", at_least=exact.low - 1e-9).verdict == "holds"
    assert weigh("C1", 9, of=10, what="hits", at_least=exact.low + 1e-9).verdict == "undecided"


def test_one_gain_of_many_does_not_decide_a_paired_comparison_by_signs_or_ranks() -> None:
    gains = [-0.01, -0.02, 0.01, -0.03, 0.02, -0.015, 0.9]
    for test in ("wilcoxon", "sign"):
        assert weigh("C1", gains, test=test, what="gain", at_least=0).verdict == "undecided"
        assert weigh("C1", [abs(gain) for gain in gains], test=test, what="gain", at_least=0).verdict == "holds"
    # Student's interval is so wide, because of the one, that nothing is decided where all seven are gains.
    assert weigh("C1", [abs(gain) for gain in gains], what="gain", at_least=0).verdict == "undecided"
    assert weigh("C1", gains[:5], test="wilcoxon", what="gain", at_most=5).verdict == "undecided"  # too few pairs


LOOKS = (5, 8, 12, 20)


@pytest.mark.parametrize(
    "evidence",
    [
        weigh("C1", VALUES, what="w", at_least=0.5),
        weigh("C1", 1.0, what="w", at_most=0.5),
        weigh("C2", VALUES, what="w"),
        weigh("C2", [0, 3], of=[70, 30], what="w", at_most=0.1),
        weigh("C2", range(9), test="wilcoxon", what="w", at_most=0.1),
        weigh("C2", [1.0], test="sign", what="w", at_most=0.1),
        weigh("C2", range(8), what="w", at_most=3, looks=LOOKS),
        not_tested("C3", "too large", what="w"),
        GATED,
    ],
)
def test_evidence_survives_json(evidence: Evidence) -> None:
    stored = json.loads(json.dumps(evidence_to_json(evidence)))
    assert evidence_from_json(stored) == evidence
    assert evidence_to_json(evidence_from_json(stored)) == stored


def test_the_verdict_is_that_of_todays_rule_whatever_was_stored() -> None:
    stored = evidence_to_json(HOLDS) | {"verdict": "undecided", "interval": None}
    assert evidence_from_json(stored).verdict == "holds"


def test_a_plain_mean_is_stored_as_it_was_before_there_were_other_tests() -> None:
    assert set(evidence_to_json(HOLDS)) == {"claim", "what", "values", "interval", "bar", "verdict", "reason"}
    assert dataclasses.replace(HOLDS, bar=None).verdict == "reported"
