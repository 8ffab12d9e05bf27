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
from assay.core import mean_loss, seeded
from helpers.stand_ins import small_network, small_regression, small_subject


def ask(name, subject, context):
    return registry.load(name).run(subject, context)


def finding_of(audit, name):
    (finding,) = [answer.finding for answer in audit.answers if answer.probe == name]
    return finding


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
        ("curvature", "answered"),
        ("logit_gaps", "answered"),
        ("off_subspace", "answered"),
        ("robustness", "answered"),
    ]
    jsonschema.validate(json.loads((digits_audit.folder / "findings.json").read_text()), schema())
    shown = {answer.probe for answer in digits_audit.answers if answer.finding.figures}
    assert shown >= {answer.probe for answer in digits_audit.answers} - {"initial_weights"}  # none without a find


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


def test_accuracy_falls_with_the_radius_and_starts_at_the_plain_one(digits_audit, digits):
    measures = finding_of(digits_audit, "robustness").measures
    robust = [measures[f"robust accuracy at {radius}/255"] for radius in (1, 2, 4, 8, 16, 32)]
    assert [measures["accuracy"], *robust] == sorted([measures["accuracy"], *robust], reverse=True)
    assert measures["accuracy"] > 0.8
    assert robust[-1] < measures["accuracy"] - 0.1
    assert measures["95% interval at 8/255, from"] <= measures["robust accuracy at 8/255"]
    assert measures["95% interval at 8/255, to"] >= measures["robust accuracy at 8/255"]


def test_the_table_counts_attack_by_attack_and_the_worst_images_come_first(digits_audit):
    finding = finding_of(digits_audit, "robustness")
    (table,) = finding.tables
    assert [row[0] for row in table.rows] == ["APGD-CE", "MALT"]
    n = finding.measures["samples attacked"]
    assert table.rows[0][1] == round(n * finding.measures["accuracy"])
    assert table.rows[-1][3] == round(n * finding.measures["robust accuracy at 8/255"])
    radii = [int(figure.caption.split("/255")[0].split()[-1]) for figure in finding.figures[:-1]]
    assert len(radii) == 4
    assert radii == sorted(radii)


def test_out_of_time_fewer_samples_are_attacked(digits, context, monkeypatch):
    monkeypatch.setattr("assay.audit.probes.robustness._STATED_SHARE", 1e-9)
    finding = ask("robustness", digits, context)
    assert finding.measures["samples attacked"] == 50
    assert "on 50 held-out samples" in finding.headline


def test_a_linear_classifier_breaks_exactly_where_its_margin_ends(context):
    # For scores w.x and -w.x, a sample breaks within a radius r of the infinity norm when |w.x| < r |w|_1.
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False).double()).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([signs, -signs]))
    gaps = torch.tensor([0.5, 3.0, 6.0, 12.0, 24.0, 40.0], dtype=torch.float64) / 255
    x = (0.5 + gaps[:, None] * signs).reshape(-1, 1, 2, 2)  # w.x = 4 gap and |w|_1 = 4: breaks at the radius of the gap
    y = torch.zeros(len(x), dtype=torch.long)
    finding = ask("robustness", small_subject(model=model, train=(x, y), test=None, class_names=()), context)
    expected = {1: 5, 2: 5, 4: 4, 8: 3, 16: 2, 32: 1}
    assert {r: round(6 * finding.measures[f"robust accuracy at {r}/255"]) for r in expected} == expected


def test_robustness_needs_labelled_samples_and_a_classifier(context):
    with pytest.raises(SkipProbe, match="labelled samples"):
        ask("robustness", small_subject(train=None, test=None), context)
    with pytest.raises(SkipProbe, match="needs a classifier"):
        ask("robustness", small_regression(), context)


def test_curvature_is_the_largest_eigenvalue_of_the_dense_hessian(context):
    x, y = torch.rand(6, 1, 4, 4, generator=seeded(0), dtype=torch.float64), torch.arange(6) % 3
    subject = small_subject(model=small_network().double(), train=(x, y), test=None)
    finding = ask("curvature", subject, context)
    named = dict(subject.model.named_parameters())

    def loss(flat):
        pieces = flat.split([value.numel() for value in named.values()])
        values = {name: piece.view_as(named[name]) for name, piece in zip(named, pieces, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(subject.model, values, (x,)), y)

    start = torch.cat([value.detach().flatten() for value in named.values()])
    assert loss(start).item() == pytest.approx(mean_loss(subject.model, x, y, subject.loss))
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start))
    assert finding.measures["largest eigenvalue"] == pytest.approx(eigenvalues[-1].item(), rel=1e-9)
    assert finding.measures["smallest eigenvalue"] == pytest.approx(eigenvalues[0].item(), rel=1e-6)
    (slope,) = torch.autograd.grad(loss(start.requires_grad_()), start)
    assert finding.measures["norm of the gradient"] == pytest.approx(slope.norm().item())


def test_curvature_leaves_frozen_parameters_out(context):
    x, y = torch.rand(6, 1, 4, 4, generator=seeded(0)), torch.arange(6) % 3
    model = small_network()
    next(model.parameters()).requires_grad_(False)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    finding = ask("curvature", small_subject(model=model, train=(x, y), test=None), context)
    assert f" of {trained:,} eigenvalues" in finding.headline


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("reconstruction", "membership") else [])
        for name in registry.names()
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
