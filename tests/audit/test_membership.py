import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from assay.audit import SkipProbe
from assay.audit.assumptions import percent
from assay.audit.probes import membership as probe
from assay.audit.reinitialization import reinitialized
from assay.core import accuracy, binary_cross_entropy, cross_entropy, fit, predict, seeded
from assay.nets import mlp
from helpers.probe_calls import finding_of
from helpers.stand_ins import small_regression, small_subject

pytestmark = pytest.mark.usefixtures("quick_attack")


def random_labels(*, n=25, outputs=3, loss=cross_entropy, labels=None):
    """A subject of n training and 2n held-out images of noise, whose labels mean nothing."""
    draw = seeded(1)
    x = torch.rand(3 * n, 1, 4, 4, generator=draw)
    y = torch.randint(max(outputs, 2), (3 * n,), generator=draw)
    y = y if labels is None else torch.tensor(labels)[y]
    model = nn.Sequential(nn.Flatten(), *mlp((16, 200, outputs), generator=draw)).eval()
    return small_subject(model=model, loss=loss, train=(x[:n], y[:n]), test=(x[n:], y[n:]), class_names=())


def memorised(subject):
    """The same subject after it has learned its training set by heart."""
    adam = partial(torch.optim.Adam, lr=0.01)
    fit(subject.model, *subject.train, loss=subject.loss, optimizer=adam, n_iter=150)
    assert accuracy(predict(subject.model, subject.train[0]), subject.train[1]) == 1.0
    return subject


@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"outputs": 1, "loss": binary_cross_entropy, "labels": (-1, 1)}, marks=pytest.mark.slow)],
)
def test_members_of_a_network_that_memorised_noise_are_told(context, monkeypatch, options):
    monkeypatch.setattr(probe, "_SHADOWS", 8)
    monkeypatch.setattr(probe, "_STEPS", 100)
    finding = probe.run(memorised(random_labels(**options)), context)
    assert finding.severity in ("medium", "high")
    assert finding.measures["AUC, low end"] > 0.5
    assert (finding.measures["training samples"], finding.measures["held-out samples"]) == (25, 50)
    assert "below 2.0% means no false positive" in finding.limits
    assert finding.figures[0].pictures[0].alt.startswith("ROC")


def test_nobody_is_told_of_a_network_that_saw_nobody(context):
    finding = probe.run(random_labels(), context)
    assert finding.severity == "info"
    assert finding.measures["AUC, low end"] < 0.5 < finding.measures["AUC, high end"]


def test_a_subject_that_has_not_learnt_is_named(context):
    subject = random_labels()
    with torch.no_grad():
        subject.model[-1].weight.zero_()
    finding = probe.run(subject, context)
    assert finding.headline.startswith("No answer: the subject is right on only")
    assert finding.advice.startswith("This says nothing about membership")


def test_shadows_that_do_not_learn_are_named(context, monkeypatch):
    monkeypatch.setattr(probe, "_LEARNING_RATE", 1e-9)
    monkeypatch.setattr(probe, "_STEPS", 5)
    finding = probe.run(memorised(random_labels()), context)
    assert finding.limits.startswith("But the shadow models are right on only")
    assert "the subject is right on 100% of the training samples here, the shadow models on" in finding.limits
    assert "subject is right on only" not in finding.limits


def test_held_out_samples_that_were_trained_on_are_left_out(context, monkeypatch):
    monkeypatch.setattr(probe, "_SHADOWS", 8)
    monkeypatch.setattr(probe, "_STEPS", 5)
    subject = memorised(random_labels())
    with pytest.raises(SkipProbe, match="25 of 25 held-out samples are training samples too"):
        probe.run(replace(subject, test=subject.train), context)
    both = [torch.cat(pair) for pair in zip(subject.train, subject.test, strict=True)]
    finding = probe.run(replace(subject, test=tuple(both)), context)
    assert finding.measures["held-out samples"] == 50
    assert "25 held-out samples that are training samples too were left out" in finding.limits


def test_swapped_sets_are_no_clean_bill(context):
    subject = memorised(random_labels())
    with pytest.raises(SkipProbe, match=r"surer of held-out samples.*swapped"):
        probe.run(replace(subject, train=subject.test, test=subject.train), context)


def test_the_end_of_the_interval_that_decides_is_in_the_headline(digits_audit):
    finding = finding_of(digits_audit, "membership")
    assert finding.severity != "info"
    low = finding.measures["TPR at 0.01 FPR, low end"]
    if low >= 0.02:
        assert f"at least {percent(low)}" in finding.headline
    else:
        assert f"at least {percent(finding.measures['AUC, low end'])}" in finding.headline


def test_confidence_that_beats_the_shadows_is_named(context, monkeypatch):
    monkeypatch.setattr(
        probe, "_likelihood_ratios", lambda subject, ensemble, x, y: {"LiRA": -predict(subject.model, x)[:, 0]}
    )
    monkeypatch.setattr(probe, "_SHADOWS", 8)
    monkeypatch.setattr(probe, "_STEPS", 5)
    finding = probe.run(memorised(random_labels()), context)
    assert finding.headline.endswith("by plain confidence.")
    assert "Plain confidence tells members better" in finding.limits


def test_the_loss_of_torch_and_texts_are_taken(context, monkeypatch):
    monkeypatch.setattr(probe, "_SHADOWS", 8)
    monkeypatch.setattr(probe, "_STEPS", 5)
    plain = random_labels()
    findings = [probe.run(replace(plain, loss=loss), context) for loss in (cross_entropy, nn.CrossEntropyLoss())]
    assert findings[0].measures == findings[1].measures


def test_shadows_that_answer_as_the_target_does_are_a_reason(context, monkeypatch):
    monkeypatch.setattr(probe, "_SHADOWS", 8)
    monkeypatch.setattr(probe, "reinitialized", lambda model, source: copy.deepcopy(model))
    monkeypatch.setattr(probe, "_train", lambda *given, **options: None)
    with torch.no_grad():
        (subject := random_labels()).model[-1].weight.zero_()
        subject.model[-1].bias.zero_()
    with pytest.raises(SkipProbe, match="answers every query as that does"):
        probe.run(subject, context)


def test_intervals_hold_their_estimates(digits_audit):
    measures = finding_of(digits_audit, "membership").measures
    for name in ("AUC", "TPR at 0.01 FPR", "TPR at 0.001 FPR"):
        assert measures[f"{name}, low end"] <= measures[name] <= measures[f"{name}, high end"]
    assert len(finding_of(digits_audit, "membership").tables[0].rows) == 3


class Scaled(nn.Module):
    """A module with weights of its own and no `reset_parameters`."""

    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.linspace(1.0, 3.0, 400))
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.flat = nn.Parameter(torch.full((4,), 7.0))

    def forward(self, x):
        return x * self.scale + self.own.mean() + self.flat.mean()


def test_shadows_start_without_a_weight_of_the_trained_network():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), weight_norm(nn.Linear(4, 4)), Scaled())
    with torch.no_grad():
        model[1].weight.uniform_(1, 2)
        model[1].bias.uniform_(1, 2)
        model[1].running_mean.fill_(5.0)
    model.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    fresh, same, other = (reinitialized(model, seeded(seed)) for seed in (0, 0, 1))
    stays = {"3.scale", "3.flat"}  # a single number, and equal ones
    for name, value in fresh.named_parameters():
        assert torch.equal(value, before[name]) == (name in stays), name
        assert torch.equal(value, same.get_parameter(name))
        assert value.requires_grad
    assert not torch.equal(fresh[0].weight, other[0].weight)
    assert fresh[1].running_mean.abs().max() == 0
    # 400 draws from the trained entries' mean and spread: five standard errors.
    assert fresh[3].own.mean().item() == pytest.approx(2.0, abs=5 * 0.58 / 20)
    assert fresh[3].own.std().item() == pytest.approx(0.58, abs=5 * 0.58 / 28)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_frozen_weights_stay_in_the_shadows():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[:2].requires_grad_(False)
    model[1].running_mean.fill_(5.0)
    fresh = reinitialized(nn.DataParallel(model), seeded(0))
    for place in (0, 1):
        for name, value in model[place].state_dict().items():
            assert torch.equal(fresh[place].state_dict()[name], value)
    assert not torch.equal(fresh[2].weight, model[2].weight)
    assert [value.requires_grad for value in fresh.parameters()] == [False] * 4 + [True] * 2


def test_shadows_stop_where_they_fit_as_well_as_the_subject(context):
    x, y = memorised(random_labels()).train
    losses = []
    for fitted in (0.9, 0.3):
        model = mlp((16, 200, 3))
        probe._train(model, x.flatten(1), y, seeded(0), loss=cross_entropy, fitted=fitted)
        losses.append(cross_entropy(model(x.flatten(1)), y).item())
    assert losses[1] <= 0.3 < losses[0] <= 0.9


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (small_subject(), "at least 20"),
        (small_regression(), "needs a classifier"),
    ],
)
def test_a_subject_that_cannot_be_judged_is_skipped_with_the_reason(context, subject, reason):
    with pytest.raises(SkipProbe, match=reason):
        probe.run(subject, context)


def test_a_network_too_slow_for_shadows_is_judged_by_its_confidence(context, monkeypatch):
    subject = memorised(random_labels())
    monkeypatch.setattr(probe, "_SHADOWS", 48)
    monkeypatch.setattr(probe, "_seconds_each", lambda *given: 6.0)
    finding = probe.run(subject, replace(context, seconds=40.0))
    assert finding.measures["shadow models"] == 0
    assert "the score is plain confidence alone" in finding.limits
    assert (
        "used 0 of 48 shadow models; all of them: assay audit SUBJECT --probe membership --minutes 6" in finding.limits
    )
    assert len(finding.tables[0].rows) == 1
    monkeypatch.setattr(probe, "_SHADOWS", 20)
    monkeypatch.setattr(probe, "_STEPS", 5)
    monkeypatch.setattr(probe, "_seconds_each", lambda *given: 4.0)
    finding = probe.run(subject, replace(context, seconds=40.0))
    assert finding.measures["shadow models"] == 10
    assert "used 10 of 20 shadow models" in finding.limits


def test_without_training_or_held_out_data_there_is_no_answer(context):
    assert probe.PROBE.needs >= {"training_data", "test_data"}
    for missing in ("train", "test"):
        with pytest.raises(SkipProbe, match="labelled samples"):
            probe.run(replace(random_labels(), **{missing: None}), context)


def test_the_time_of_a_shadow_is_that_of_its_steps(monkeypatch):
    monkeypatch.setattr(probe, "measure_seconds", lambda work: (work(), 0.5)[1])
    subject = random_labels()
    all_steps = pytest.approx(0.5 * probe._STEPS / 5 + 0.5)
    assert probe._seconds_each(subject, *subject.train, 1e9) == all_steps
    assert probe._seconds_each(subject, *subject.train, 1.0) == all_steps
    one = probe._seconds_each(memorised(subject), *subject.train, 40.5 * 5)  # it fits the labels long before
    assert one < 40.5 / 2
