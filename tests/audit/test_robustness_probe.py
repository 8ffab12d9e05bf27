"""The robustness probe: radii, its table, and a linear classifier that breaks where it must."""

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from helpers.probe_calls import ask, finding_of
from helpers.stand_ins import small_regression, small_subject

pytestmark = pytest.mark.usefixtures("quick_attack")


def test_accuracy_falls_with_the_radius_and_starts_at_the_plain_one(digits_audit, digits):
    measures = finding_of(digits_audit, "robustness").measures
    robust = [measures[f"robust accuracy at {radius}/255"] for radius in (1, 2, 4, 8, 16, 32)]
    assert [measures["accuracy"], *robust] == sorted([measures["accuracy"], *robust], reverse=True)
    assert measures["accuracy"] > 0.8
    assert robust[-1] < measures["accuracy"] - 0.1
    assert measures["95% interval at 8/255, from"] <= measures["robust accuracy at 8/255"]
    assert measures["95% interval at 8/255, to"] >= measures["robust accuracy at 8/255"]


def test_the_table_counts_attack_by_attack_and_the_worst_images_come_first(digits_audit):
    finding = finding_of(digits_audit, "robustness")
    (table,) = finding.tables
    assert [row[0] for row in table.rows] == ["APGD-CE", "MALT", "Square"]
    n = finding.measures["samples attacked"]
    assert table.rows[0][1] == round(n * finding.measures["accuracy"])
    assert table.rows[-1][3] == round(n * finding.measures["robust accuracy at 8/255"])
    radii = [int(figure.caption.split("/255")[0].split()[-1]) for figure in finding.figures[:-1]]
    assert len(radii) == 4
    assert radii == sorted(radii)


def test_out_of_time_fewer_samples_are_attacked(digits, context, monkeypatch):
    monkeypatch.setattr("assay.audit.probes.robustness._STATED_SHARE", 1e-9)
    finding = ask("robustness", digits, context)
    assert finding.measures["samples attacked"] == 50
    assert "on 50 held-out samples" in finding.headline


def test_a_slow_network_is_attacked_in_fewer_steps_and_that_is_said(digits, monkeypatch):
    monkeypatch.setattr("assay.audit.probes.robustness._PLANS", ((50, 20), (3, 10)))
    monkeypatch.setattr("assay.audit.probes.robustness.measure_seconds", lambda work: 0.05)  # 1 ms a sample
    finding = ask("robustness", digits, Context(seconds=2.0))
    assert "each attack took 3 steps instead of 50" in finding.limits
    assert finding.measures["samples attacked"] >= 10
    assert finding.measures["robust accuracy at 32/255"] < finding.measures["accuracy"]
    with pytest.raises(SkipProbe, match="attacking 10 samples would take"):
        ask("robustness", digits, Context(seconds=0.1))


def test_a_linear_classifier_breaks_exactly_where_its_margin_ends(context):
    # For scores w.x and -w.x, a sample breaks within a radius r of the infinity norm when |w.x| < r |w|_1.
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False).double()).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([signs, -signs]))
    gaps = torch.tensor([0.5, 3.0, 6.0, 12.0, 24.0, 40.0], dtype=torch.float64) / 255
    x = (0.5 + gaps[:, None] * signs).reshape(-1, 1, 2, 2)  # w.x = 4 gap and |w|_1 = 4: breaks at the radius of the gap
    y = torch.zeros(len(x), dtype=torch.long)
    finding = ask("robustness", small_subject(model=model, train=(x, y), test=None, class_names=()), context)
    expected = {1: 5, 2: 5, 4: 4, 8: 3, 16: 2, 32: 1}
    assert {r: round(6 * finding.measures[f"robust accuracy at {r}/255"]) for r in expected} == expected


def test_robustness_needs_labelled_samples_and_a_classifier(context):
    with pytest.raises(SkipProbe, match="labelled samples"):
        ask("robustness", small_subject(train=None, test=None), context)
    with pytest.raises(SkipProbe, match="needs a classifier"):
        ask("robustness", small_regression(), context)
