"""The coherence probe beside gradients of a loop over samples."""

import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from assay.core import cross_entropy, seeded, squared_error
from helpers.probe_calls import ask
from helpers.stand_ins import small_network, small_regression, small_subject


def rows_of(model, x, y):
    own = list(model.parameters())
    pieces = [torch.autograd.grad(cross_entropy(model(x[i : i + 1]), y[i : i + 1]), own) for i in range(len(x))]
    return torch.stack([torch.cat([piece.reshape(-1) for piece in row]) for row in pieces])


def test_figures_are_those_of_the_formula_and_places_those_of_the_training_set(context):
    x, y = torch.rand(30, 1, 4, 4, generator=seeded(0), dtype=torch.float64), torch.arange(30) % 3
    subject = small_subject(model=small_network().double(), train=(x, y), test=None)
    finding = ask("coherence", subject, context)
    rows = rows_of(subject.model, x, y)
    squares = rows.square().sum(1)
    alpha = float(rows.mean(0).square().sum() / squares.mean())
    assert finding.measures["m-coherence"] == pytest.approx(30 * alpha)
    order = squares.sort(descending=True)
    assert [row[0] for row in finding.tables[0].rows] == order.indices[:5].tolist()
    share = finding.measures["share of the squared gradient norm in the hardest 1%"]
    assert share == pytest.approx(float(order.values[0] / squares.sum()))
    cosines = torch.cosine_similarity(rows, rows.sum(0) - rows)
    assert finding.tables[0].rows[0][-1] == f"{cosines[order.indices[0]]:.2f}"
    assert finding.tables[0].rows[0][1] == ("red", "green", "blue")[int(y[order.indices[0]])]
    assert len(finding.figures[0].pictures) == 5
    assert f"led by sample {order.indices[0]}" in finding.headline


def test_one_wrong_label_among_fitted_samples_is_low_and_named(context):
    x = torch.eye(3)[torch.arange(60) % 3]
    y = torch.arange(60) % 3
    y[17] = (y[17] + 1) % 3
    model = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(12 * torch.eye(3))
    finding = ask("coherence", small_subject(model=model, train=(x, y), test=None), context)
    assert finding.severity == "low"
    assert finding.tables[0].rows[0][0] == 17
    assert finding.figures == ()


def test_with_less_time_fewer_samples_are_used_and_that_is_said(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.coherence.measure_seconds", lambda work: 0.2)
    x, y = torch.rand(30, 1, 4, 4, generator=seeded(0)), torch.arange(30) % 3
    finding = ask("coherence", small_subject(train=(x, y), test=None), Context(seconds=0.25))
    assert finding.measures["samples used"] == 25
    assert "it used 25 of 30 training samples" in finding.limits


def test_a_regression_has_no_labels_in_its_table(context):
    finding = ask("coherence", small_regression(), context)
    assert finding.tables[0].columns == ("place in the training set", "gradient norm", "cosine with the others' sum")
    assert "6 samples only" in finding.limits


def test_a_perfect_fit_has_no_gradients_to_compare(context):
    model = nn.Linear(2, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x, y = torch.rand(4, 2, generator=seeded(0)), torch.zeros(4, 1)
    subject = small_subject(model=model, loss=squared_error, train=(x, y), test=None, class_names=())
    with pytest.raises(SkipProbe, match="gradients of all samples are zero"):
        ask("coherence", subject, context)
