"""The probes that read clean gradients: score gaps, and gradients off the data's subspace."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.audit import SkipProbe
from assay.audit.probe import SEVERITIES
from assay.core import seeded
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression, small_subject


def score(weights):
    """A network of one linear layer with scores of the given weights."""
    model = nn.Linear(weights.shape[1], len(weights), bias=False).double().eval()
    with torch.no_grad():
        model.weight.copy_(weights)
    return model


def subject_of(model, x, **changes):
    y = torch.arange(len(x)) % 2
    return small_subject(model=model, train=(x, y), test=None, class_names=(), **changes)


def images_at(gaps):
    """A linear network of 2 x 2 images, and images whose answers flip where every entry changes by their gap."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    x = (0.5 + gaps[:, None] * signs).reshape(-1, 1, 2, 2)  # the gap of the scores is 8 gaps, its slope's 1-norm 8
    model = nn.Sequential(nn.Flatten(), score(torch.stack([signs, -signs])))
    return small_subject(model=model, train=(x, torch.zeros(len(x)).long()), test=None, class_names=())


def test_on_a_linear_classifier_the_flips_are_counted_exactly(context):
    gaps = torch.tensor([0.3, 0.7, 1.5, 3.0, 6.0, 40.0], dtype=torch.float64) / 255
    finding = ask("logit_gaps", images_at(gaps), context)
    expected = {"0.25": 0, "0.5": 1, "1": 2, "2": 3, "4": 4, "8": 5}
    for name in ("changed by a step of", "predicted at"):
        assert {s: round(6 * finding.measures[f"{name} {s}/255"]) for s in expected} == expected
    shares = ("0%", "17%", "33%", "50%", "67%", "83%")
    assert [row[1:] for row in finding.tables[0].rows] == [(share, share) for share in shares]
    assert "changes 33% of correct answers" in finding.headline
    assert "exponent of the power law" not in finding.measures, "six samples are too few for a law"


@pytest.mark.parametrize(("flipped", "severity"), [(0, "info"), (9, "info"), (11, "low"), (51, "medium"), (91, "high")])
def test_the_severity_is_the_share_kept_at_one_step_of_eight_bits(context, flipped, severity):
    gap = torch.full((100,), 30.5 / 255, dtype=torch.float64)
    gap[:flipped] = 0.9 / 255
    finding = ask("logit_gaps", images_at(gap), context)
    assert finding.severity == severity
    assert ("adversary" in finding.advice) == (severity != "info")


def test_steps_end_at_the_range_and_wrong_answers_are_left_out(context):
    # White and black entries cannot move outwards, which is where this network's slope leads.
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), score(torch.stack([signs, -signs])))
    edge = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64) + 0.2 / 255 * signs
    x = torch.stack([0.5 - 0.4 / 255 * signs, 0.5 + 0.5 / 255 * signs, edge, edge]).reshape(-1, 1, 2, 2)
    subject = small_subject(model=model, train=(x, torch.tensor([1, 1, 1, 0])), test=None, class_names=())
    finding = ask("logit_gaps", subject, context)
    assert finding.measures["correct answers"] == 2
    assert finding.measures["accuracy"] == 0.5
    assert (
        finding.measures["changed by a step of 1/255"] == 0.5
    )  # the grey one; the one at the edge is 2 - 0.8/255 away
    nobody = small_subject(model=model, train=(x[:1], torch.tensor([0])), test=None, class_names=())
    with pytest.raises(SkipProbe, match="none of the samples correctly"):
        ask("logit_gaps", nobody, context)


def test_rounding_and_noise_are_counted_beside_the_step(context):
    # Grey 127.4 of 255 rounds to the even level 128, an odd one likewise: every entry moves by known amounts.
    gap = torch.full((40,), 0.9 / 255, dtype=torch.float64)
    finding = ask("logit_gaps", images_at(gap), context)
    table = {row[0]: row[1] for row in finding.tables[1].rows}
    assert list(table) == [
        "one step of 1/255, chosen against the network",
        "rounding to steps of 2/255",
        "random noise of 1/255",
        "JPEG of quality 95",
        "JPEG of quality 75",
    ]
    # 127.5 + 0.9 = 128.4 and 127.5 - 0.9 = 126.6 round to 128 and 126: the answer stays.
    assert table["rounding to steps of 2/255"] == "0%"
    assert table["one step of 1/255, chosen against the network"] == "100%"
    # Noise flips where all four signs point against the network, with probability 1/16; 160 draws.
    assert 0 < float(table["random noise of 1/255"].rstrip("%")) < 100 * (1 / 16 + 4 * (15 / 256 / 160) ** 0.5)


def test_what_rounding_flips_is_no_matter_of_adversaries(context):
    # 127.5 + 0.1 = 127.6 and 127.4 round to 128 and 128 (2 x 63.7 -> 2 x 64): the answer becomes a tie, or flips.
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), score(torch.stack([-signs, signs])))
    x = (0.5 + 0.1 / 255 * signs).repeat(30, 1).reshape(-1, 1, 2, 2)
    subject = small_subject(model=model, train=(x, torch.ones(30).long()), test=None, class_names=())
    finding = ask("logit_gaps", subject, context)
    assert dict(finding.tables[1].rows)["rounding to steps of 2/255"] == "100%"
    assert finding.severity == "high"
    assert "without any adversary" in finding.advice


def test_the_law_of_the_built_in_digits_is_a_power_near_one(digits, context):
    finding = ask("logit_gaps", digits, context)
    assert 0.75 <= finding.measures["exponent of the power law"] <= 1.3  # the bars of the study of logit differences
    assert "it grows as the size to the power" in finding.figures[0].caption
    assert finding.severity == "info"


def test_gaps_are_never_more_severe_than_robustness(digits, digits_audit):
    found = {answer.probe: answer.finding for answer in digits_audit.answers}
    order = [SEVERITIES.index(found[name].severity) for name in ("logit_gaps", "robustness")]
    assert order == sorted(order)
    rules = [found[name].rule for name in ("logit_gaps", "robustness")]
    assert all("high below 10%, medium below 50%, low below 90%" in rule for rule in rules)


@pytest.mark.parametrize(("ratio", "severity"), [(0.5, "high"), (1.5, "medium"), (3.0, "low"), (5.0, "info")])
def test_distances_off_and_within_the_subspace_are_those_of_the_weights(context, ratio, severity):
    # The data use two of four axes, and the score is `ratio` times steeper along one of these than off them.
    height = torch.linspace(0.02, 0.3, 41, dtype=torch.float64)
    x = torch.stack([torch.full_like(height, 0.5), height, 0 * height, 0 * height], 1)
    model = score(torch.tensor([[0.0, ratio, 1.0, 0.0], [0.0, -ratio, -1.0, 0.0]]))
    finding = ask("off_subspace", subject_of(model, x), context)
    # Features are no image: distances are in their standard deviations, the one height's for those that do not vary.
    measures, middle = finding.measures, (height.median() / height.std(correction=0)).item()
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
