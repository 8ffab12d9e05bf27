import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, NumericalError
from assay.lab.evidence import SEVERITY, evidence_from_json, evidence_to_json, not_tested, weigh, worst

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


def test_the_worst_verdict_counts() -> None:
    for place, verdict in enumerate(SEVERITY):
        assert worst(SEVERITY[place:]) == verdict
        assert worst(reversed(SEVERITY[place:])) == verdict


@pytest.mark.parametrize(
    "evidence",
    [
        weigh("C1", VALUES, what="w", at_least=0.5),
        weigh("C1", 1.0, what="w", at_most=0.5),
        weigh("C2", VALUES, what="w"),
        not_tested("C3", "too large", what="w"),
    ],
)
def test_evidence_survives_json(evidence: object) -> None:
    assert evidence_from_json(json.loads(json.dumps(evidence_to_json(evidence)))) == evidence
