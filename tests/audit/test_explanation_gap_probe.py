"""The probe of explanation gaps on networks that are linear for one group and curved for the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from assay.attribution import LocalSurrogate, explanation_disparity
from assay.audit import Context, SkipProbe, Subject
from assay.audit.probes import explanation_gap
from assay.core import binary_cross_entropy, cross_entropy, predict, seeded
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression


class Curved(nn.Module):
    """A probability that is a wave of the first column where the second is positive, and affine elsewhere."""

    def __init__(self, bend=1.0, images=False, outputs=2):
        super().__init__()
        self.bend = nn.Parameter(torch.tensor(bend))
        self.images, self.outputs = images, outputs

    def forward(self, x):
        x = x.mean((1, 3)) if self.images else x
        p = 0.5 + 0.02 * x[:, 0] + 0.4 * self.bend * torch.sin(6 * x[:, 0]) * (x[:, 1] > 0)
        logit = p.clamp(0.01, 0.99).logit()
        return logit[:, None] if self.outputs == 1 else torch.stack([torch.zeros_like(logit), logit], 1)


def subject_of(model, x=None, **changes):
    x = torch.randn(300, 3, generator=seeded(0)) if x is None else x
    rows = x.mean((1, 3)) if x.ndim == 4 else x
    groups = (rows[:, 1] > 0).long()
    loss = binary_cross_entropy if model.outputs == 1 else cross_entropy
    given = {"test": (x, (rows[:, 0] > 0).long()), "test_groups": groups, "input_range": (-8.0, 8.0)} | changes
    return Subject(model=model.eval(), loss=loss, name="curved", **given)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(explanation_gap, "_NEIGHBOURS", 200)
    monkeypatch.setattr(explanation_gap, "_SAMPLES", 120)


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_group_where_the_network_is_curved_is_named(context, outputs):
    finding = ask("explanation_gap", subject_of(Curved(outputs=outputs)), context)
    assert finding.severity == "medium"
    assert "in group 1" in finding.headline
    assert finding.measures["p-value"] < 0.01
    assert finding.measures["samples"] == 120
    assert len(finding.figures) == len(finding.tables) == 1


def test_the_numbers_are_those_of_the_method(context):
    subject = subject_of(Curved())
    x, groups = subject.test[0], subject.test_groups
    chosen = explanation_gap._balanced(groups, context.generator())
    surrogate = LocalSurrogate(200, random_state=context.seed).fit(x.numpy())
    labels = predict(subject.model, x[chosen]).argmax(1).numpy()
    found = surrogate.explain(subject.model, x[chosen].numpy(), label=labels)
    report = explanation_disparity(found.model_prediction, found.local_prediction, groups[chosen])
    finding = ask("explanation_gap", subject, context)
    assert finding.measures["gap of the worst group"] == pytest.approx(report.max_gap["residual"], abs=1e-6)
    assert finding.measures["mean residual"] == pytest.approx(report.overall["residual"], abs=1e-6)


def test_an_affine_network_raises_no_alarm(context):
    finding = ask("explanation_gap", subject_of(Curved(bend=0.0)), context)
    assert finding.severity == "info"
    assert "within chance" in finding.headline


def test_images_are_explained_by_coarse_cells(context):
    x = torch.randn(200, 1, 3, 1, generator=seeded(0)).expand(-1, 2, -1, 4).contiguous()
    finding = ask("explanation_gap", subject_of(Curved(images=True), x), context)
    assert "coarse cells" in finding.limits
    assert "in group 1" in finding.headline


def test_cells_of_an_image_move_alone_and_keep_its_detail():
    x = torch.rand(5, 3, 10, 9, dtype=torch.float64, generator=seeded(1))
    columns = explanation_gap._cells(x)
    assert columns.values.shape == (5, 49)
    assert np.isclose(columns.values[2, 0], x[2, :, :2, :2].mean())
    values = columns.values[[2, 4]][:, None].repeat(2, 1)
    values[0, 1, 0] += 0.5
    inputs = columns.decode(np.array([2, 4]), values).unflatten(0, (2, 2))
    torch.testing.assert_close(inputs[:, 0], x[[2, 4]])
    torch.testing.assert_close(inputs[1, 1], x[4])
    change = inputs[0, 1] - x[2]
    torch.testing.assert_close(change[:, :2, :2], torch.full((3, 2, 2), 0.5, dtype=torch.float64))
    assert change.count_nonzero() == 12


def test_constant_columns_stay_constant():
    x = torch.randn(6, 4, generator=seeded(0))
    x[:, 2] = 7.0
    columns = explanation_gap._columns(x)
    assert columns.values.shape == (6, 3)
    inputs = columns.decode(np.array([1]), columns.values[[1]][:, None] + 1)
    torch.testing.assert_close(inputs, (x[1] + torch.tensor([1.0, 1.0, 0.0, 1.0]))[None])


def test_what_it_cannot_explain_is_skipped_with_the_reason(context):
    wide = torch.randn(60, 200, generator=seeded(0))
    cases = [
        (subject_of(Curved(), test_groups=None), "give test_groups"),
        (subject_of(Curved(), wide), "at most 128"),
        (subject_of(Curved(), test_groups=torch.zeros(300, dtype=torch.long)), "fewer than two"),
        (subject_of(Curved(), test_groups=torch.arange(300) // 10), "fewer than two"),
    ]
    for subject, reason in cases:
        with pytest.raises(SkipProbe, match=reason):
            ask("explanation_gap", subject, context)
    with pytest.raises(SkipProbe, match="rows of numbers and images"):
        explanation_gap._columns(torch.randn(60, 3, 4))
    groups = torch.arange(len(small_regression().test[0])) % 2
    regression = replace(small_regression(), test_groups=groups)
    with pytest.raises(SkipProbe, match="classifier"):
        ask("explanation_gap", regression, context)


def test_without_time_it_is_skipped_and_with_less_it_says_so(monkeypatch):
    with pytest.raises(SkipProbe, match=r"run it alone .*--probe explanation_gap --minutes"):
        ask("explanation_gap", subject_of(Curved()), Context(seconds=1e-6))
    monkeypatch.setattr(explanation_gap, "measure_seconds", lambda work: 1.0)
    finding = ask("explanation_gap", subject_of(Curved()), Context(seconds=60.0))
    assert "it used 60 of 120 held-out samples" in finding.limits
    assert {row[1] for row in finding.tables[0].rows} == {30}
