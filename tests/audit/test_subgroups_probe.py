"""The probe of groups: who is worse off, at equal classes, beyond chance."""

import json

import jsonschema
import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe, Subject, run_audit
from assay.audit.result import schema
from assay.core import binary_cross_entropy, cross_entropy
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression, small_subject


def answering(cells, *, one_logit=False, signs=False, **changes):
    """A network that reads its answer off its input, and samples: right and all of each class (row) and group."""
    y, groups, answers = [], [], []
    for label, row in enumerate(cells):
        for group, (right, n) in enumerate(row):
            y += [label] * n
            groups += [group] * n
            answers += [label] * right + [(label + 1) % len(cells)] * (n - right)
    x = nn.functional.one_hot(torch.tensor(answers), max(2, len(cells))).float()
    model = nn.Linear(x.shape[1], 1 if one_logit else len(cells), bias=False).eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 1.0]]) if one_logit else torch.eye(len(cells)))
    labels = torch.tensor(y)
    data = (x, 2 * labels - 1 if signs else labels)
    loss = binary_cross_entropy if one_logit else cross_entropy
    given = {"test": data, "test_groups": torch.tensor(groups)} | changes
    return Subject(model=model, loss=loss, name="cells", **given)


def test_the_worst_class_of_a_group_is_found_where_the_means_agree(context):
    """Spurious correlation: both groups are right on three quarters, each wrong on the class it is rarely of."""
    subject = answering([[(95, 100), (55, 100)], [(55, 100), (95, 100)]])
    finding = ask("subgroups", subject, context)
    assert finding.severity == "high"
    assert "is 40 points lower than on the same classes elsewhere" in finding.headline
    assert {str(row[2]).split(" ")[0] for row in finding.tables[0].rows} == {"75%"}
    assert [row[3:5] for row in finding.tables[0].rows] == [("0%", "0%"), ("0%", "0%")]
    low = finding.measures["its lower end"]
    assert 0.2 <= low < 0.4
    assert finding.measures["comparisons"] == 6
    assert len(finding.figures) == len(finding.tables) == 1


def test_shares_of_the_classes_alone_raise_no_alarm(context):
    subject = answering([[(360, 400), (90, 100)], [(60, 100), (240, 400)]])
    finding = ask("subgroups", subject, context)
    assert finding.severity == "info"
    assert "beyond chance" in finding.headline
    assert finding.tables[0].rows[1][3:5] == ("18%", "18%"), "the whole gap follows from the shares of the classes"
    assert str(finding.tables[0].rows[1][5]).startswith("0% ")


@pytest.mark.parametrize(
    ("right", "severity"), [(900, "info"), (880, "info"), (830, "low"), (760, "medium"), (600, "high")]
)
def test_the_severity_follows_the_lower_end(context, right, severity):
    subject = answering([[(900, 1000), (right, 1000)], [(900, 1000), (900, 1000)]])
    finding = ask("subgroups", subject, context)
    assert finding.severity == severity


@pytest.mark.parametrize("signs", [False, True])
def test_one_logit_is_read_as_two_classes(context, signs):
    cells = [[(95, 100), (55, 100)], [(55, 100), (95, 100)]]
    plain = ask("subgroups", answering(cells), context)
    assert ask("subgroups", answering(cells, one_logit=True, signs=signs), context).measures == plain.measures


def test_training_groups_are_used_and_said_to_be_of_training_samples(context):
    cells = [[(95, 100), (5, 10)], [(50, 100), (95, 100)]]
    given = answering(cells)
    subject = answering(cells, train=given.test, groups=given.test_groups, test=None, test_groups=None)
    finding = ask("subgroups", subject, context)
    assert "These are training samples" in finding.limits
    both = answering(cells, train=given.test, groups=given.test_groups)
    assert "Group 0 has 100 of the 200 training samples of class 1." in ask("subgroups", both, context).limits


def test_groups_that_are_the_classes_cannot_be_compared(context):
    finding = ask("subgroups", answering([[(90, 100), (0, 0)], [(0, 0), (50, 100)]]), context)
    assert finding.severity == "info"
    assert "share no class" in finding.headline
    assert [row[5:] for row in finding.tables[0].rows] == [("too few", "too few")] * 2


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (small_subject(), "none are given; give test_groups"),
        (small_subject(test_groups=[0, 0, 0, 0, 0]), "all samples belong to one group"),
        (small_regression(test_groups=[0, 0, 1, 1, 0]), "needs a classifier"),
        (answering([[(1, 1)] * 51, [(1, 1)] * 51]), "51 groups, and at most 50"),
    ],
)
def test_where_nothing_can_be_compared_it_is_skipped_with_the_reason(context, subject, reason):
    with pytest.raises(SkipProbe, match=reason):
        ask("subgroups", subject, context)


def test_without_time_it_says_which_command_gives_more():
    with pytest.raises(SkipProbe, match="run it alone with more time: assay audit SUBJECT --probe subgroups"):
        ask("subgroups", answering([[(90, 100)] * 2] * 2), Context(seconds=1e-9))


def test_with_less_time_fewer_samples_are_used_and_that_is_said(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.subgroups.measure_seconds", lambda work: 0.5)  # of fifty samples
    finding = ask("subgroups", answering([[(90, 100)] * 2] * 2), Context(seconds=1.0))
    assert "it used 100 of 400 held-out samples" in finding.limits


def test_the_report_holds_the_table(tmp_path):
    subject = answering([[(95, 100), (55, 100)], [(55, 100), (95, 100)]])
    result = run_audit(subject, probes=["subgroups"], out=tmp_path)
    found = json.loads((result.folder / "findings.json").read_text())
    jsonschema.validate(found, schema())
    assert "others are better by, at equal classes" in (result.folder / "report.html").read_text()
