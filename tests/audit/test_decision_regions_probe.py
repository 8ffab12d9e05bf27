"""The probe of decision regions on networks whose regions are known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.audit import SkipProbe
from assay.core import InvalidInputError, seeded
from assay.landscape.regions import fragmentation_score, plane_predictions, sample_planes
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression, small_subject


def test_pieces_are_those_of_planes_through_each_part(context):
    x, y = torch.rand(40, 1, 4, 4, generator=seeded(0)), torch.arange(40) % 3
    subject = small_subject(train=(x, y), test=(1 - x, y))
    finding = ask("decision_regions", subject, context)
    order = torch.randperm(40, generator=context.generator())
    for name, samples in (("training", x), ("held-out", 1 - x)):
        planes = sample_planes(samples[order], n=60, distinct_labels=False, generator=context.generator())
        pieces = fragmentation_score(plane_predictions(subject.model, planes, resolution=30)).mean
        assert finding.measures[f"pieces on planes through {name} samples"] == pytest.approx(pieces)
    assert "a plane through three held-out samples" in finding.figures[0].pictures[0].alt


class Islands(nn.Linear):
    """Class 1 in a small ball around each training sample."""

    def forward(self, input):
        near = torch.cdist(input.flatten(1), self.weight).amin(1) < 0.3
        return torch.stack([torch.full((len(input),), 0.5), 2 * near.float()], 1) + 0 * self.bias[:2]


def test_islands_around_training_samples_are_found(context):
    x, held = torch.randn(2, 30, 8, generator=seeded(1))
    model = Islands(8, 30).eval()
    with torch.no_grad():
        model.weight.copy_(x)
    y = torch.arange(30) % 2
    subject = small_subject(model=model, train=(x, y), test=(held, y), input_range=(-9.0, 9.0), class_names=())
    assert ask("decision_regions", subject, context).severity == "low"
    assert ask("decision_regions", replace(subject, train=(held, y), test=(x, y)), context).severity == "info"


def test_a_second_network_is_compared_on_the_held_out_planes(context):
    subject = small_subject()
    same = ask("decision_regions", replace(subject, second_model=subject.model), context)
    assert same.measures["agreement with the second network"] == 1.0
    reversed_classes = nn.Sequential(subject.model, Reversed()).eval()
    other = ask("decision_regions", replace(subject, second_model=reversed_classes), context)
    assert other.measures["agreement with the second network"] < 0.5
    assert "The second network agrees at" in other.headline
    assert "give the subject a second_model" in ask("decision_regions", subject, context).limits


class Reversed(nn.Module):
    """Scores in the reverse order of the classes."""

    def forward(self, scores):
        return scores.flip(1)


def test_a_second_network_of_other_outputs_is_refused():
    with pytest.raises(InvalidInputError, match="second_model: it has outputs of shape"):
        small_subject(second_model=nn.Sequential(nn.Flatten(), nn.Linear(16, 7)).eval())


def test_a_second_network_moves_with_the_subject():
    subject = small_subject()
    subject = replace(subject, second_model=subject.model)
    moved = subject.to("cpu")
    assert moved.second_model is not subject.second_model
    assert moved.second_model is not moved.model


def test_a_regression_is_skipped(context):
    with pytest.raises(SkipProbe, match="classifier"):
        ask("decision_regions", small_regression(), context)
