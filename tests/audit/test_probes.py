import copy
import json
from dataclasses import replace

import jsonschema
import pytest
import torch
from torch import nn

from assay.audit import Context, SkipProbe
from assay.audit import probes as registry
from assay.audit.reading import read
from assay.audit.result import schema
from assay.core import seeded
from helpers.probe_calls import ask, finding_of
from helpers.stand_ins import small_regression, small_subject

pytestmark = pytest.mark.usefixtures("quick_attack")


def untrained(digits):
    """The digits' network at fresh random weights, which have seen no data."""
    draw = seeded(7)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 1, bias=False)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
    return replace(digits, model=model, initial_state=None)


@pytest.fixture(scope="module")
def found_in_untrained(digits, quick_attack):
    """What reconstruction says of a network that has seen no data, to who has samples to compare with."""
    return ask("reconstruction", untrained(digits), Context(seed=0, seconds=600))


@pytest.fixture(scope="module")
def found_in_untrained_blind(digits, quick_attack):
    """The same from the weights alone."""
    return ask("reconstruction", replace(untrained(digits), train=None, test=None), Context(seed=0, seconds=600))


def test_every_probe_answers_for_digits(digits_audit):
    assert [(answer.probe, answer.status) for answer in digits_audit.answers] == [
        ("reconstruction", "answered"),
        ("initial_weights", "answered"),
        ("membership", "answered"),
        ("coherence", "answered"),
        ("curvature", "answered"),
        ("decision_regions", "answered"),
        ("explanation_gap", "skipped"),  # no groups are given
        ("latent_variables", "skipped"),  # no autoencoder
        ("layer_information", "answered"),
        ("learning_rate", "answered"),
        ("logit_gaps", "answered"),
        ("off_subspace", "answered"),
        ("opposing", "answered"),
        ("redundancy", "answered"),
        ("robustness", "answered"),
        ("saliency", "answered"),
        ("subgroups", "skipped"),  # no groups are given
    ]
    jsonschema.validate(json.loads((digits_audit.folder / "findings.json").read_text()), schema())
    answered = [answer for answer in digits_audit.answers if answer.status == "answered"]
    shown = {answer.probe for answer in answered if answer.finding.figures or answer.finding.tables}
    assert shown >= {answer.probe for answer in answered} - {"initial_weights", "opposing"}  # none without a find


def test_training_samples_are_recovered_beyond_the_nulls(digits_audit):
    finding = digits_audit.answers[0].finding
    counts = {row[0]: row[4] for row in finding.tables[0].rows}
    nulls = [count for name, count in counts.items() if name.startswith("null")]
    assert len(nulls) == 2
    assert counts["all candidates of the attack"] >= max(nulls) + 3
    assert finding.severity in ("medium", "high")
    best = finding.figures[0]
    assert len(best.pictures) == 2
    assert "NCC 0.9" in best.caption


def test_a_network_that_saw_no_data_gives_nothing_away(found_in_untrained):
    assert found_in_untrained.severity == "info"


def test_weights_alone_show_what_restarts_agree_on(digits, context):
    finding = ask("reconstruction", replace(digits, train=None, test=None), context)
    assert finding.severity == "medium"
    assert "does not prove" in finding.limits
    assert all(len(figure.pictures) == 1 for figure in finding.figures)
    assert len(finding.figures) >= finding.measures["patterns that restarts agree on"] > 3


def test_weights_alone_of_a_network_that_saw_no_data_raise_no_alarm(found_in_untrained_blind):
    finding = found_in_untrained_blind
    assert finding.severity == "info"
    assert finding.measures["relative residual"] > 0.9


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.SELU(), nn.Linear(8, 3)).eval()}, "ReLU"),
        (
            {"model": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()},
            "nn.Linear layers",
        ),
    ],
)
def test_a_network_that_the_attack_cannot_read_is_skipped_with_the_reason(context, changes, reason):
    with pytest.raises(SkipProbe, match=reason):
        ask("reconstruction", small_subject(**changes), context)


@pytest.mark.slow
def test_a_normalisation_inside_the_network_changes_nothing(digits, digits_audit, context):
    """A subject whose mean was taken out beforehand, and one whose network takes it out and scales, say the same."""

    class Normalise(nn.Module):
        def __init__(self, mean):
            super().__init__()
            self.register_buffer("mean", mean)

        def forward(self, x):
            return (x - self.mean) / 0.5

    outer = finding_of(digits_audit, "reconstruction")
    inner_net = copy.deepcopy(digits.model)
    first = next(module for module in inner_net.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        first.weight.mul_(0.5)
    pairs = {split: (digits.raw(getattr(digits, split)[0]), getattr(digits, split)[1]) for split in ("train", "test")}
    mean = torch.zeros_like(pairs["train"][0][0]) if digits.mean is None else digits.mean
    inside = replace(
        digits, model=nn.Sequential(Normalise(mean), inner_net).eval(), mean=None, initial_state=None, **pairs
    )
    finding = ask("reconstruction", inside, context)
    reading = read(inside)
    x = inside.train[0]
    assert torch.allclose(reading.samples(x) - reading.mean, digits.train[0], atol=1e-6)
    assert reading.unscaled(torch.ones(1, 1, 8, 8)).eq(0.5).all()
    assert finding.severity == outer.severity
    counted = "n75, all candidates of the attack"
    assert abs(finding.measures[counted] - outer.measures[counted]) <= 5


def test_behind_convolutions_the_features_of_the_dense_head_are_attacked(digits, context):
    features = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten())
    with torch.no_grad():
        features[0].weight.fill_(1.0)  # the head then reads what the digits' own network read
    head = nn.Sequential(*[module for module in digits.model if not isinstance(module, nn.Flatten)])
    subject = replace(digits, model=nn.Sequential(features, head).eval(), initial_state=None)
    reading = read(subject)
    assert reading.kind == "features"
    assert torch.equal(reading.samples(subject.train[0]), subject.train[0].flatten(1))
    finding = ask("reconstruction", subject, context)
    assert finding.severity in ("medium", "high")
    assert "features" in finding.headline


def test_reconstruction_tells_members_from_others_better_than_guessing(digits_audit):
    finding = digits_audit.answers[0].finding
    assert finding.measures["area under the ROC"] > 0.5
    assert finding.measures["TPR at 1% FPR"] > 0.01
    assert finding.figures[-1].pictures[0].name == "roc"


def test_a_regression_is_attacked_with_multipliers_of_either_sign(context):
    finding = ask("reconstruction", small_regression(), context)
    assert finding.measures["candidates"] > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("reconstruction", "membership") else [])
        for name in registry.names()
        # Digits has no groups and is no autoencoder.
        if name not in (*registry.opt_in_names(), "explanation_gap", "latent_variables", "subgroups")
    ],
)
def test_the_same_seed_gives_the_same_finding(digits, digits_audit, context, name):
    first, second = finding_of(digits_audit, name), ask(name, digits, context)
    assert first.measures == second.measures
    assert [p.data for f in first.figures for p in f.pictures] == [p.data for f in second.figures for p in f.pictures]


def test_weights_of_another_form_are_named_in_the_finding(found_in_untrained, found_in_untrained_blind):
    """An owner whose network is not what the attack assumes reads so, with training data and without."""
    blind, scored = found_in_untrained_blind, found_in_untrained
    assert blind.headline.startswith("Nothing was reconstructed")
    assert blind.measures["patterns that restarts agree on"] == 0
    assert not blind.figures
    assert "the weights lack the form that the attack needs" in scored.headline
    for finding in (blind, scored):
        assert finding.severity == "info"
        assert "Nothing found" in finding.limits
        assert "out of balance" in finding.limits
        assert "init_state=" in finding.advice
        assert finding.measures["weights left unexplained"] > 0.9


@pytest.mark.slow
def test_torchs_own_losses_choose_the_same_attack(digits, context):
    finding = ask("reconstruction", replace(digits, loss=nn.BCEWithLogitsLoss()), context)
    assert finding.measures["n75, all candidates of the attack"] > 3
