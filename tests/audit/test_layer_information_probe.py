"""The probe of layers beside the method, and what it cannot read."""

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from assay.core import seeded
from assay.representation import entropy_by_layer
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression, small_subject


def images(n=120):
    return torch.rand(n, 1, 4, 4, generator=seeded(0)), torch.arange(n) % 3


def test_the_table_has_the_figures_of_the_method(context):
    subject = small_subject(train=images(), test=None)
    finding = ask("layer_information", subject, context)
    names = [row[0] for row in finding.tables[0].rows]
    x, y = context.sample(subject.train, 500)
    found = entropy_by_layer(subject.model, x, y, layers=names, generator=context.generator())
    assert finding.tables[0].rows[-1][1] == f"{float(found.entropy[-1]):.3g}"
    assert finding.measures["information on the label, last layer"] == pytest.approx(float(found.label_information[-1]))
    assert finding.measures["samples used"] == 120
    assert finding.severity == "info"
    assert len(finding.figures) == 1


def test_labels_that_a_layer_separates_are_told(context):
    y = torch.arange(90) % 3
    x = 0.02 * torch.rand(90, 30, generator=seeded(1))
    x[:, :3] += 0.9 * nn.functional.one_hot(y)
    model = nn.Sequential(nn.Linear(30, 3, bias=False), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3, 30))
    finding = ask("layer_information", small_subject(model=model, train=(x, y), test=None), context)
    assert finding.measures["most information on the label"] > 0.5


def test_with_less_time_fewer_samples_are_used_and_that_is_said(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.layer_information.measure_seconds", lambda work: 1.0)
    finding = ask("layer_information", small_subject(train=images(400), test=None), Context(seconds=8.0))
    assert finding.measures["samples used"] == 229
    assert "it used 229 of 400 training samples" in finding.limits


def test_a_regression_is_read_by_bins(context):
    finding = ask("layer_information", small_regression(), context)
    assert finding.severity == "info"


def test_layers_without_differences_and_tokens_are_skipped(context):
    x, y = images()
    dead = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(SkipProbe, match="coincide"):
        ask("layer_information", small_subject(model=dead, train=(torch.ones_like(x), y), test=None), context)
    with pytest.raises(SkipProbe, match="does not have"):
        ask("layer_information", small_subject(train=None, test=None), context)
