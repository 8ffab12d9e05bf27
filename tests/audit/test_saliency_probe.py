"""The saliency probe on networks whose evidence is known."""

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from assay.core import isolated_rng, seeded
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression, small_subject


def corner(n=40):
    """Images whose class is the brightness of their first pixel, and a network that reads it alone."""
    x = torch.rand(n, 1, 6, 6, generator=seeded(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[1, 0], model[1].bias[1] = 20.0, -10.0
        model[1].bias[0] = 0.0
    return small_subject(
        model=model, train=(x, (x[:, 0, 0, 0] > 0.5).long()), test=None, class_names=("dark", "bright")
    )


def test_maps_of_the_one_pixel_that_counts_are_faithful_and_depend_on_the_weights(context):
    finding = ask("saliency", corner(), context)
    assert finding.severity == "info"
    assert finding.measures["gain of deletion over random orders"] > 0.02
    assert abs(finding.measures["correlation after new all weights"]) < 0.5
    assert len(finding.figures[0].pictures) == 1
    assert "faster than random" in finding.headline


def convolutions(**changes):
    with isolated_rng(0):
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten()
        )
        model.append(nn.Linear(16, 3))
    return small_subject(model=model.eval(), **changes)


def test_layers_with_positions_are_read(context):
    finding = ask("saliency", convolutions(), context)
    assert "maps of 0, 2, 4" in finding.tables[0].caption
    assert finding.measures["samples used"] == 5


def test_maps_that_ignore_the_weights_are_low(context, monkeypatch):
    monkeypatch.setattr("assay.audit.saliency_checks.saliency_maps", lambda model, layers, x, classes: x)
    finding = ask("saliency", corner(), context)
    assert finding.severity == "low"
    assert finding.measures["correlation after new all weights"] == pytest.approx(1)


def test_tokens_are_drawn_as_text(context):
    with isolated_rng(0):
        model = nn.Sequential(nn.Embedding(9, 6), nn.Tanh(), nn.Flatten(), nn.Linear(30, 3))
    x = torch.randint(9, (12, 5), generator=seeded(0))
    finding = ask("saliency", small_subject(model=model.eval(), train=(x, x[:, 0] % 3), test=None), context)
    assert len(finding.figures[0].pictures) == 4
    assert "maps of 0, 1" in finding.tables[0].caption


def test_with_less_time_fewer_samples_are_used_and_that_is_said(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.saliency.measure_seconds", lambda work: 0.4)
    finding = ask("saliency", corner(), Context(seconds=1.25))
    assert finding.measures["samples used"] == 12
    assert "it used 12 of 40 samples" in finding.limits


def test_regressions_and_other_shapes_are_skipped(context):
    with pytest.raises(SkipProbe, match="score of a class"):
        ask("saliency", small_regression(), context)
    sequences = small_subject(
        model=nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), train=(torch.rand(6, 4, 4), torch.arange(6) % 3), test=None
    )
    with pytest.raises(SkipProbe, match="images, tokens or rows"):
        ask("saliency", sequences, context)


def test_features_are_listed(context):
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[:, 2] = torch.tensor([9.0, -9.0, 0.0])
        model.weight[:, 4] = torch.tensor([1.0, -1.0, 1.0])
        model.bias.copy_(-0.5 * model.weight.sum(1))  # nothing speaks for a class at the mean
    x = torch.rand(40, 5, generator=seeded(0))
    finding = ask("saliency", small_subject(model=model, train=(x, torch.arange(40) % 3), test=None), context)
    assert [row[0] for row in finding.tables[1].rows[:2]] == [2, 4]
    assert finding.figures == ()
    assert finding.measures["gain of deletion over random orders"] > 0
