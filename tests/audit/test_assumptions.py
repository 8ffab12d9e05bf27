"""What the probes that perturb inputs say of subjects that they were not made for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from assay.audit import SkipProbe
from assay.audit.perturbations import perturbed, unit_caveats
from assay.core import predict, seeded
from helpers.probe_calls import ask
from helpers.stand_ins import small_network, small_regression, small_subject

PROBES = ("logit_gaps", "off_subspace", "robustness")


def tabular(spreads, *, input_range=(-10.0, 10.0), n=60):
    """A subject with features of given standard deviations, which its network divides by these."""
    spreads = torch.tensor(spreads)
    x = (spreads * torch.randn(n, len(spreads), generator=seeded(0))).clamp(*input_range)

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(len(spreads), 2)

        def forward(self, x):
            return self.layer(x / spreads)

    model = Scaled().eval()
    with torch.no_grad():
        model.layer.weight.copy_(torch.randn(2, len(spreads), generator=seeded(1)))
        model.layer.bias.zero_()
    y = predict(model, x).argmax(1)
    return small_subject(model=model, train=(x, y), test=None, class_names=(), input_range=input_range)


class Before(nn.Module):
    """A network behind a function of its inputs or before one of its outputs."""

    def __init__(self, model, before=nn.Identity(), after=nn.Identity()):  # noqa: B008
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x):
        return self.after(self.model(self.before(x)))


def learned(**changes):
    """A subject of images whose labels are what its smooth network answers, about a third for each class."""
    model, x = small_network(), torch.rand(24, 1, 4, 4, generator=seeded(4))
    model[2] = nn.Tanh()
    with torch.no_grad():
        model[-1].bias -= predict(model, x).mean(0)
    given = {"model": model, "train": (x, predict(model, x).argmax(1)), "test": None}
    return small_subject(**(given | changes))


@pytest.fixture(autouse=True)
def short_attacks(monkeypatch):
    monkeypatch.setattr("assay.audit.probes.robustness._PLANS", ((5, 20),))
    monkeypatch.setattr("assay.audit.probes.robustness._QUERIES", 4)


def test_pictures_in_their_range_need_no_word(context):
    subject = learned()
    at = perturbed(subject, subject.train[0])
    assert at.image
    assert list(unit_caveats(subject, at, 8)) == []


def test_the_unit_of_features_is_their_standard_deviation():
    subject = tabular([2.0, 0.01, 30.0], input_range=(-200.0, 200.0))
    x = subject.train[0]
    at = perturbed(subject, x)
    expected = (x - x.mean(0)) / x.std(0, correction=0)
    assert torch.allclose(at.x, expected, atol=1e-4)
    assert torch.allclose(predict(at.model, at.x), predict(subject.model, x), atol=1e-4)
    assert (at.name(8), at.unit * 8) == ("0.1 standard deviations", 0.1)
    (sentence,) = unit_caveats(subject, at, 8)
    assert "in standard deviations of each feature" in sentence


def test_a_feature_that_does_not_vary_is_never_changed(context):
    subject = tabular([2.0, 1.0, 1.0])
    x = subject.train[0].clone()
    x[:, 2] = 5.0
    still = replace(subject, train=(x, predict(subject.model, x).argmax(1)))
    at = perturbed(still, x)
    moved = at.x.clone()
    moved[:, 2] += 100
    assert torch.equal(predict(at.model, moved), predict(at.model, at.x))
    assert "1 feature that do not vary" in " ".join(unit_caveats(still, at, 8)) or at.constant == 1
    with pytest.raises(SkipProbe, match="no feature varies"):
        perturbed(replace(still, train=(x[:1], still.train[1][:1])), x[:1])


@pytest.mark.parametrize("name", PROBES)
def test_neither_scale_nor_outliers_of_a_feature_change_the_severity(name, context):
    """The same network in other units, and with a range that an outlier asks for, has the same findings."""
    spreads = [3.0, 3.0, 3.0, 3.0]
    subject, other = tabular(spreads), tabular([300.0, 0.03, 3.0, 3.0], input_range=(-5000.0, 5000.0))
    if name == "off_subspace":
        flat = [torch.cat([one.train[0][:, :3], one.train[0][:, :1]], 1) for one in (subject, other)]
        flat[1][:, 3] /= 100
        subject, other = (replace(one, train=(x, one.train[1])) for one, x in zip((subject, other), flat, strict=True))
    first, second = ask(name, subject, context), ask(name, other, context)
    assert first.severity == second.severity
    for key, value in first.measures.items():
        assert second.measures[key] == pytest.approx(value, rel=2e-3, abs=0.03), key


def test_a_linear_network_of_features_breaks_where_its_margin_ends(context):
    # An answer holds within r standard deviations of every feature while |w.x| > r sum |w_j| s_j.
    subject = tabular([4.0, 0.1, 1.0], input_range=(-99.0, 99.0))
    x, spread = subject.train[0], subject.train[0].std(0, correction=0)
    weights = (subject.model.layer.weight[0] - subject.model.layer.weight[1]).detach() / torch.tensor([4.0, 0.1, 1.0])
    distance = (x @ weights).abs() / (weights.abs() * spread).sum()
    measures = ask("robustness", subject, context).measures
    for size in (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4):
        kept = (distance > size).double().mean().item()
        assert measures[f"robust accuracy at {size:g} standard deviations"] == pytest.approx(kept, abs=1e-9)


def test_a_range_that_the_inputs_do_not_use_is_named(context):
    subject = replace(learned(), input_range=(-100.0, 100.0))
    limits = ask("robustness", subject, context).limits
    x = subject.train[0]
    share = 200 * 8 / 255 / (x.max() - x.min()).item()
    assert f"8/255 of the range is {share:.0%} of what they span" in limits


@pytest.mark.parametrize("name", ["logit_gaps", "robustness"])
def test_few_samples_are_counted(name, context):
    subject = learned()
    few = replace(subject, train=tuple(part[:4] for part in subject.train))
    assert "rest on 4 samples only: each changes a share by 25%" in ask(name, few, context).limits
    assert "rest on" not in ask(name, subject, context).limits


def test_the_robustness_of_guesses_is_called_that(context):
    subject = learned()
    x, y = subject.train
    shuffled = replace(subject, train=(x, y[torch.randperm(len(y), generator=seeded(9))]))
    finding = ask("robustness", shuffled, context)
    commonest = y.bincount().max().item() / len(y)
    assert finding.measures["share of the commonest label"] == pytest.approx(commonest)
    assert "answering the commonest label does as well" in finding.headline
    assert f"not significantly above that of always answering the commonest label, {commonest:.1%}" in finding.limits
    assert finding.advice.startswith("Check first that the model, its data and its labels belong together")
    finding = ask("robustness", subject, context)
    assert "commonest label" not in finding.headline
    assert "Check first" not in finding.advice


class Quantise(nn.Module):
    def forward(self, x):
        return (16 * x).round() / 16


def test_a_network_with_masked_gradients_is_no_robust_one(context):
    subject = learned()
    masked = replace(subject, model=Before(subject.model, before=Quantise()).eval(), initial_state=None)
    masked = replace(masked, train=(subject.train[0], predict(masked.model, subject.train[0]).argmax(1)))
    finding = ask("robustness", masked, context)
    n = int(finding.measures["samples with masked gradients"])
    assert 0 < n < 24  # Square, which needs no gradients, breaks some
    assert finding.measures["robust accuracy at 8/255"] == n / 24
    assert f"but gradients are masked at {n} samples" in finding.headline
    assert f"The gradient is masked at {n} samples that no attack changed (it vanishes at {n})" in finding.limits
    assert finding.advice.startswith("Attack again without gradients")
    assert ask("robustness", subject, context).measures["samples with masked gradients"] == 0
    flat = replace(masked, train=(_on_a_plane(masked.train[0]), masked.train[1]))
    for name in ("logit_gaps", "off_subspace"):
        with pytest.raises(SkipProbe, match="no gradient"):
            ask(name, flat, context)


def _on_a_plane(x):
    flat = x.flatten(1).clone()
    flat[:, 8:] = 0
    return flat.view_as(x)


def test_a_saturated_loss_is_told_from_a_network_that_does_not_flip(context):
    class Sharp(nn.Module):
        def forward(self, scores):
            return 1e6 * scores

    subject = learned()
    sharp = replace(subject, model=Before(subject.model, after=Sharp()).eval(), initial_state=None)
    plain, finding = (ask("logit_gaps", one, context) for one in (subject, sharp))
    sizes = [key for key in plain.measures if key.startswith(("predicted", "changed"))]
    for key in sizes:  # the same decisions, and so the same first-order distances
        assert finding.measures[key] == pytest.approx(plain.measures[key], abs=1 / 24 + 1e-6)
    assert "masked" not in finding.limits + plain.limits, "steps follow the scores, which do not saturate"


def test_a_network_that_answers_one_class_is_named(context):
    class Leaning(nn.Module):
        def forward(self, scores):
            return scores + torch.tensor([50.0, 0.0, 0.0])

    subject = learned()
    leaning = replace(subject, model=Before(subject.model, after=Leaning()).eval(), initial_state=None)
    assert "gives all samples the same class" in ask("logit_gaps", leaning, context).limits
    assert "same class" not in ask("logit_gaps", subject, context).limits


def test_a_subspace_of_few_samples_is_not_called_that_of_the_data(digits, context):
    finding = ask("off_subspace", digits, context)
    n, kept = len(digits.train[0]), _energy_of_held_out(digits, int(finding.measures["dimension of the subspace"]))
    assert f"{n} samples span at most {n} of 64 dimensions" in finding.limits
    assert kept < 0.95
    assert f"Only {kept:.0%} of the squared norm of held-out inputs" in finding.limits


def _energy_of_held_out(subject, rank):
    """The share of the held-out squared norm in the span of the first singular vectors, by NumPy's decomposition."""
    flat, test = (pairs[0].flatten(1).double().numpy() for pairs in (subject.train, subject.test))
    basis = np.linalg.svd(flat)[2][:rank].T
    return float(((test @ basis) ** 2).sum() / (test**2).sum())


@pytest.mark.parametrize("name", PROBES)
def test_a_loss_of_torch_is_a_classifiers(name, context):
    x, y = learned().train
    subject = learned(train=(_on_a_plane(x), y))
    theirs = replace(subject, loss=nn.CrossEntropyLoss())
    assert ask(name, theirs, context).measures == ask(name, subject, context).measures
    with pytest.raises(SkipProbe, match="needs a classifier"):
        ask(name, small_regression(), context)


def test_no_time_is_told(digits, context, monkeypatch):
    monkeypatch.setattr("assay.audit.probes.robustness._STATED_SHARE", 1e-9)
    limits = ask("robustness", digits, context).limits
    assert "Time ran out: 150 of 200 samples are left out." in limits
    assert "--probe robustness --minutes" in limits
