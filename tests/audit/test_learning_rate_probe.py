"""The probe of learning rates beside the dense Hessian."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from assay.core import HessianOperator, seeded
from helpers.probe_calls import ask
from helpers.stand_ins import small_network, small_subject


@pytest.fixture
def subject():
    x, y = torch.rand(400, 1, 4, 4, generator=seeded(0), dtype=torch.float64), torch.arange(400) % 3
    return small_subject(model=small_network().double(), train=(x, y), test=None)


def test_the_limits_are_those_of_the_dense_hessian(subject, context):
    finding = ask("learning_rate", subject, context)
    dense = HessianOperator(subject.model, *subject.train, subject.loss).to_dense()
    largest = torch.linalg.eigvalsh(dense)[-1].item()
    assert finding.measures["largest eigenvalue"] == pytest.approx(largest, rel=1e-3)
    rows = {row[0]: row[1:] for row in finding.tables[0].rows}
    assert list(rows) == ["16", "64", "256", "400"]
    assert rows["400"] == tuple(f"{value:.2g}" for value in (largest, 2 / largest, 2 * 1.9 / largest))
    mean = finding.measures["largest eigenvalue on batches of 64, mean"]
    assert mean > largest
    assert float(rows["64"][1]) == pytest.approx(2 / mean, rel=0.05)
    # Between the sizes the excess is in proportion to 1/b, with b = B / (1 - B / 400).
    excess = (mean - largest) * (1 / 16 - 1 / 400) / (1 / 64 - 1 / 400)
    assert float(rows["16"][0]) == pytest.approx(largest + excess, rel=0.05)
    assert finding.severity == "info"
    assert "Adam and other adaptive optimisers" in finding.limits


def test_few_samples_make_smaller_batches(context):
    finding = ask("learning_rate", small_subject(), context)
    assert [row[0] for row in finding.tables[0].rows] == ["1", "6"]
    assert "rest on 6 samples only" in finding.limits


def test_with_less_time_fewer_samples_are_used_and_that_is_said(subject, monkeypatch):
    monkeypatch.setattr("assay.audit.probes.learning_rate.measure_seconds", lambda work: 0.064)  # 1 ms a sample
    finding = ask("learning_rate", subject, Context(seconds=6.72 + 5.01))
    assert finding.measures["samples used"] == 200
    assert "it used 200 of 400 training samples" in finding.limits
    finding = ask("learning_rate", subject, Context(seconds=6.72 + 3.0))  # fewer steps, on smaller batches
    assert [row[0] for row in finding.tables[0].rows] == ["16", "64", "256", "400"]
    assert finding.measures["samples used"] == 400
    assert "measured on 3 batches of 16" in finding.tables[0].caption
    with pytest.raises(SkipProbe, match=r"8 steps on 64 samples and on 3 batches .* one probe may take"):
        ask("learning_rate", subject, Context(seconds=1.0))


def test_what_it_cannot_answer_is_skipped_with_the_reason(subject, context, monkeypatch):
    few = replace(subject, train=tuple(part[:3] for part in subject.train))
    with pytest.raises(SkipProbe, match="only 3; it needs four"):
        ask("learning_rate", few, context)
    flat = replace(subject, model=nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False)).double())
    flat = replace(flat, train=(torch.zeros(8, 1, 4, 4, dtype=torch.float64), torch.arange(8) % 3))
    with pytest.raises(SkipProbe, match="no positive curvature"):
        ask("learning_rate", flat, context)
    monkeypatch.setattr("assay.audit.probes.learning_rate._MEMORY", 1000)
    with pytest.raises(SkipProbe, match="at most 12 parameters"):
        ask("learning_rate", subject, context)
