"""The gate passes what was seen and found harmless, and nothing else."""

from pathlib import Path

import pytest

from assay.audit import Answer, AuditResult
from assay.audit.gate import judge
from assay.audit.quality import Quality
from helpers.stand_ins import a_finding, small_subject


def answered(name, severity):
    return Answer(name, f"{name}?", "training", "answered", 1.0, finding=a_finding(severity))


def missing(name, status, reason="no data"):
    return Answer(name, f"{name}?", "training", status, 0.0, reason=reason)


def result_of(*answers):
    return AuditResult(subject=small_subject(), answers=answers, seed=0, folder=Path("out"), quality=Quality())


MEND = "; mend or complete the subject, or name with --probe the probes that decide"


@pytest.mark.parametrize(
    ("answers", "level", "code", "reason"),
    [
        ([answered("a", "medium")], "high", 0, ""),
        ([answered("a", "medium")], "medium", 1, "--fail-on medium: a is medium"),
        ([answered("a", "low"), answered("b", "high")], "low", 1, "--fail-on low: b is high, a is low"),
        (
            [answered("a", "info"), missing("b", "failed", "KeyError: 'x'")],
            "high",
            3,
            f"--fail-on high cannot be decided: b failed (KeyError: 'x'){MEND}",
        ),
        ([answered("a", "high"), missing("b", "failed")], "high", 1, "--fail-on high: a is high"),
        ([answered("a", "info"), missing("b", "skipped")], "low", 0, ""),
        (
            [answered("a", "info"), missing("b", "skipped"), missing("c", "skipped", "no ReLU")],
            "high",
            3,
            f"--fail-on high cannot be decided: 2 of 3 probes were skipped: b (no data), c (no ReLU){MEND}",
        ),
    ],
)
def test_a_gate_passes_what_was_seen_only(answers, level, code, reason):
    assert judge(result_of(*answers), level) == (code, reason)


def test_a_result_ranks_its_answers_most_severe_first_and_ties_as_asked():
    given = [("a", "info"), ("b", "high"), ("c", "low"), ("d", "medium"), ("e", "high")]
    rest = [missing("s", "skipped"), missing("i", "interrupted"), missing("f", "failed")]
    result = result_of(*rest, *(answered(name, severity) for name, severity in given))
    assert [answer.probe for answer in result.ranked] == list("bedcafis")
    assert [line.split()[0] for line in str(result).splitlines()[1:]] == [
        "high", "high", "medium", "low", "info", "failed", "interrupted", "skipped"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([answered("a", "low")], "worst finding low"),
        ([answered("a", "info"), missing("b", "skipped"), missing("c", "skipped")],
         "worst finding info; 1 of 3 probes answered (2 skipped)"),
        ([missing("a", "interrupted"), missing("b", "failed")],
         "no finding; 0 of 2 probes answered (1 failed, 1 interrupted)"),
    ],
)  # fmt: skip
def test_a_verdict_says_how_much_was_not_seen(answers, verdict):
    assert str(result_of(*answers)).splitlines()[0] == f"small: {verdict}"
