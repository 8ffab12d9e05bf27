"""What the probes that perturb inputs say of subjects that they were not made for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from assay.audit import SkipProbe
from assay.audit import probes as registry
from assay.audit.assumptions import scale_caveat, step_caveats
from assay.core import predict, seeded
from helpers.stand_ins import small_network, small_regression, small_subject

PROBES = ("logit_gaps", "off_subspace", "robustness")


def ask(name, subject, context):
    return registry.load(name).run(subject, context)


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
    monkeypatch.setattr("assay.audit.probes.robustness._STEPS", 5)


def test_pictures_in_their_range_need_no_word(context):
    subject = learned()
    x = subject.train[0]
    assert list(step_caveats(subject, x, 8 / 255, "8/255")) == []
    assert list(scale_caveat(subject, x)) == []


def test_the_step_is_told_in_the_units_of_the_inputs_and_in_standard_deviations():
    subject = tabular([2.0, 2.0, 2.0])
    first, second = step_caveats(subject, subject.train[0], 8 / 255, "8/255")
    assert first == f"8/255 of the input range [-10, 10] is {20 * 8 / 255:.2g} in the units of the inputs."
    spread = subject.train[0].std(0).median().item()
    assert second == f"For the median feature 8/255 of the range is {20 * 8 / 255 / spread:.2g} standard deviations."


@pytest.mark.parametrize("name", PROBES)
def test_features_with_scales_of_their_own_are_named(name, context):
    subject = tabular([3.0, 3.0, 0.01, 0.02])
    if name == "off_subspace":
        assert "add unlike units" in ask(name, subject, context).limits
    else:
        limits = ask(name, subject, context).limits
        spread = subject.train[0].std(0)
        assert f"go from {spread.min().item():.2g} to {spread.max().item():.2g}" in limits
        assert "scale them alike" in limits


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
    assert f"not significantly above that of always answering the commonest label, {commonest:.1%}" in finding.headline
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
    n = finding.measures["samples with masked gradients"]
    assert n == 24
    assert finding.measures["robust accuracy at 8/255"] == 1.0
    assert "The gradient is masked at 24 samples that no attack changed (it vanishes at 24)" in finding.headline
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
    sizes = [key for key in plain.measures if key.startswith("predicted")]
    for key in sizes:  # the same decisions, and so the same first-order distances
        assert finding.measures[key] == pytest.approx(plain.measures[key], abs=1 / 24 + 1e-6)
    assert "softmax is saturated" in finding.headline
    assert "masked" not in plain.headline


def test_a_network_that_answers_one_class_is_named(context):
    class Leaning(nn.Module):
        def forward(self, scores):
            return scores + torch.tensor([50.0, 0.0, 0.0])

    subject = learned()
    leaning = replace(subject, model=Before(subject.model, after=Leaning()).eval(), initial_state=None)
    assert "gives all samples the same class" in ask("logit_gaps", leaning, context).headline
    assert "same class" not in ask("logit_gaps", subject, context).headline


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
    monkeypatch.setattr("assay.audit.probes.robustness._SECONDS", 0.0)
    limits = ask("robustness", digits, context).limits
    assert "Time ran out: 150 of 200 samples are left out." in limits
