"""The probe of opposing groups on networks with planted ones, and on those without."""

from functools import partial

import pytest
import torch
from torch import nn

from assay.audit import SkipProbe, Subject
from assay.audit.probe import Context
from assay.audit.probes import opposing
from assay.core import binary_cross_entropy, fit, seeded
from assay.landscape.opposing import make_opposing_outliers
from assay.nets import mlp
from helpers.probe_calls import ask
from helpers.stand_ins import small_subject


def planted(n_outliers=8, *, images=False):
    data = make_opposing_outliers(200, d=16, n_outliers=n_outliers, generator=seeded(0))
    x = data.x.reshape(-1, 1, 4, 4) if images else data.x
    y = ((data.y + 1) / 2).long()
    model = nn.Sequential(nn.Flatten(), *mlp((16, 32, 1), generator=seeded(0))).double()
    fit(model, x, y, loss=binary_cross_entropy, optimizer=partial(torch.optim.Adam, lr=0.003), n_iter=20)
    known = {"class_names": ("cold", "warm"), "input_range": (-60.0, 60.0)}
    subject = Subject(model, binary_cross_entropy, train=(x, y), **known)
    return subject, data.outliers


def test_planted_groups_are_told_with_their_places(context):
    subject, outliers = planted()
    finding = ask("opposing", subject, context)
    assert finding.severity == "low"
    assert "warm" in finding.headline
    assert "cold" in finding.headline
    (table,) = finding.tables
    named = {int(place) for row in table.rows for place in row[-1].split(", ")}
    assert len(named & set(outliers.tolist())) >= 0.9 * len(named)
    assert finding.figures == ()
    assert finding.measures["cosine of the groups' gradients"] < -0.5


def test_images_are_shown_and_not_listed(context):
    subject, _ = planted(images=True)
    finding = ask("opposing", subject, context)
    assert len(finding.figures) == 1
    assert finding.tables == ()
    assert "Two rows of training images" in finding.figures[0].pictures[0].alt


def test_without_the_feature_it_says_that_there_are_none(context):
    finding = ask("opposing", planted(0)[0], context)
    assert finding.severity == "info"
    assert finding.headline.startswith("No small groups")
    assert finding.figures == finding.tables == ()


def test_it_keeps_its_time(monkeypatch):
    subject, _ = planted()
    monkeypatch.setattr("assay.audit.probes.opposing.measure_seconds", lambda work: 1.0)
    finding = ask("opposing", subject, Context(seconds=80.0))
    assert finding.measures["samples used"] == 100
    assert "used 100 of 200 training samples" in finding.limits
    with pytest.raises(SkipProbe, match="a search in 50 samples"):
        ask("opposing", subject, Context(seconds=10.0))


def test_a_loss_without_curvature_is_skipped(context):
    x, y = torch.zeros(6, 1, 4, 4), torch.ones(6, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    with pytest.raises(SkipProbe, match="no positive curvature"):
        ask("opposing", small_subject(model=model, loss=nn.L1Loss(), train=(x, y), test=None, class_names=()), context)


def test_a_large_network_is_skipped(monkeypatch, context):
    monkeypatch.setattr("assay.audit.probes.opposing._MEMORY", 1000)
    with pytest.raises(SkipProbe, match="at most 10 trained parameters"):
        ask("opposing", planted()[0], context)


def test_targets_without_classes_are_named_by_value():
    named = [opposing._name(planted()[0], y, torch.tensor([0, 1])) for y in (torch.tensor([0.5, 0.5]), torch.eye(2))]
    assert named == ["target 0.5", ""]
