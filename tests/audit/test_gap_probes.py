"""The probes that read clean gradients: score gaps, and gradients off the data's subspace."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.audit import SkipProbe
from assay.audit import probes as registry
from assay.core import seeded
from helpers.stand_ins import small_regression, small_subject


def ask(name, subject, context):
    return registry.load(name).run(subject, context)


def score(weights):
    """A network of one linear layer with scores of the given weights."""
    model = nn.Linear(weights.shape[1], len(weights), bias=False).double().eval()
    with torch.no_grad():
        model.weight.copy_(weights)
    return model


def subject_of(model, x, **changes):
    y = torch.arange(len(x)) % 2
    return small_subject(model=model, train=(x, y), test=None, class_names=(), **changes)


def test_on_a_linear_classifier_the_flips_are_counted_exactly(context):
    # For scores w.x and -w.x, a change of r in every entry flips a sample when |w.x| < r |w|_1.
    gaps = torch.tensor([0.3, 0.7, 1.5, 3.0, 6.0, 40.0], dtype=torch.float64) / 255
    model, x = score(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])), torch.stack([0.5 + gaps, 0.5 - gaps], 1)
    finding = ask("logit_gaps", subject_of(model, x), context)
    expected = {"0.25": 0, "0.5": 1, "1": 2, "2": 3, "4": 4, "8": 5}
    assert {s: round(6 * finding.measures[f"predicted flips at {s}/255"]) for s in expected} == expected
    assert [row[1:] for row in finding.tables[0].rows] == [(round(n / 6, 4),) * 2 for n in expected.values()]
    assert finding.severity == "high"
    assert "exponent of the power law" not in finding.measures, "six samples are too few for a law"


@pytest.mark.parametrize(("flipped", "severity"), [(0, "info"), (2, "low"), (6, "medium"), (20, "high")])
def test_the_severity_is_the_share_at_one_step_of_eight_bits(context, flipped, severity):
    gap = torch.full((100,), 30 / 255, dtype=torch.float64)
    gap[:flipped] = 0.6 / 255
    model, x = score(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])), torch.stack([0.5 + gap, 0.5 - gap], 1)
    assert ask("logit_gaps", subject_of(model, x), context).severity == severity


def test_the_law_of_the_built_in_digits_is_a_power_near_one(digits, context):
    finding = ask("logit_gaps", digits, context)
    assert 0.75 <= finding.measures["exponent of the power law"] <= 1.3  # the bars of the study of logit differences
    assert "the share grows as the size to the power" in finding.headline
    assert finding.severity in ("low", "medium")


@pytest.mark.parametrize(("ratio", "severity"), [(0.5, "high"), (1.5, "medium"), (3.0, "low"), (5.0, "info")])
def test_distances_off_and_within_the_subspace_are_those_of_the_weights(context, ratio, severity):
    # The data use two of four axes, and the score is `ratio` times steeper along one of these than off them.
    height = torch.linspace(0.02, 0.3, 41, dtype=torch.float64)
    x = torch.stack([torch.full_like(height, 0.5), height, 0 * height, 0 * height], 1)
    model = score(torch.tensor([[0.0, ratio, 1.0, 0.0], [0.0, -ratio, -1.0, 0.0]]))
    finding = ask("off_subspace", subject_of(model, x), context)
    measures, middle = finding.measures, height.median().item()
    assert measures["dimension of the subspace"] == 2
    assert measures["distance to a flip on the subspace (median)"] == pytest.approx(middle, rel=1e-6)
    assert measures["distance to a flip off the subspace (median)"] == pytest.approx(ratio * middle, rel=1e-6)
    assert measures["share of the squared gradient off the subspace"] == pytest.approx(1 / (1 + ratio**2))
    assert finding.severity == severity


def test_an_untrained_network_is_as_steep_off_the_data_as_on_it(digits, context):
    draw = seeded(7)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 400), nn.ReLU(), nn.Linear(400, 1, bias=False)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
    finding = ask("off_subspace", replace(digits, model=model, initial_state=None), context)
    share = finding.measures["share of the squared gradient off the subspace"]
    assert share == pytest.approx(finding.measures["share of dimensions off the subspace"], abs=0.1)
    assert finding.severity in ("medium", "high")
    assert ask("off_subspace", digits, context).severity == "info", "weight decay has taken it away"


def test_what_cannot_be_asked_is_skipped_with_the_reason(context):
    with pytest.raises(SkipProbe, match="labelled samples"):
        ask("logit_gaps", small_subject(train=None, test=None), context)
    for name in ("logit_gaps", "off_subspace"):
        with pytest.raises(SkipProbe, match="needs a classifier"):
            ask(name, small_regression(), context)
    model, x = score(torch.eye(2)), torch.rand(30, 2, generator=seeded(0), dtype=torch.float64)
    with pytest.raises(SkipProbe, match="fill all 2 dimensions"):
        ask("off_subspace", subject_of(model, x), context)
    with pytest.raises(SkipProbe, match="5,000 entries"):
        ask("off_subspace", subject_of(score(torch.ones(2, 5000)), x.repeat(1, 2500)), context)
    flat = torch.cat([x, torch.zeros_like(x)], 1)
    with pytest.raises(SkipProbe, match="no gradient"):
        ask("off_subspace", subject_of(score(torch.zeros(2, 4)), flat), context)
