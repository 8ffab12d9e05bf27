"""The probe that trains fresh copies of the network on random labels."""

from dataclasses import replace

import pytest
import torch

from assay.audit import Context, SkipProbe, Subject, run_audit
from assay.audit import probes as registry
from assay.core import cross_entropy, seeded
from assay.nets import mlp
from helpers.probe_calls import ask
from helpers.stand_ins import small_regression

NAME = "capacity"


def classifier(width, n=80):
    """Return a network of one hidden layer, not trained, with normally distributed samples of three classes."""
    x = torch.rand(n, 4, generator=seeded(0))
    model = mlp((4, width, 3), generator=seeded(1)).eval()
    return Subject(model, cross_entropy, train=(x, torch.arange(n) % 3))


@pytest.fixture
def few_steps(monkeypatch):
    for name, value in {"_STEPS": 100, "_FEWEST_STEPS": 50, "_LEARNING_RATE": 0.03}.items():
        monkeypatch.setattr(f"assay.audit.probes.capacity.{name}", value)


def test_a_wide_network_stores_its_training_set_and_a_narrow_one_does_not(few_steps, context):
    wide, narrow = (ask(NAME, classifier(width, n), context) for width, n in ((300, 20), (2, 40)))
    assert wide.severity == "low"
    assert wide.measures["samples fitted with random labels"] == 20
    assert "all 20 training samples" in wide.headline
    assert narrow.severity == "info"
    # 19 parameters do not store 40 labels of three classes, and a few samples are fitted by most starts.
    assert 1 <= narrow.measures["samples fitted with random labels"] < 40
    assert narrow.measures["trainable parameters"] == 19
    assert narrow.measures["accuracy at the failure that bounds the number"] < 1


def test_the_same_seed_gives_the_same_finding_and_the_model_stays(few_steps, context):
    subject = classifier(4, n=17)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    one, other = (ask(NAME, subject, context) for _ in range(2))
    assert one.measures == other.measures
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())


def test_it_runs_only_where_it_is_named(tmp_path, few_steps):
    assert NAME in registry.opt_in_names()
    assert NAME not in [probe.name for probe in registry.choose()]
    (answer,) = run_audit(classifier(9, n=16), probes=[NAME], out=tmp_path / "audit", minutes=9).answers
    assert answer.status == "answered"
    assert answer.topic == "generalisation"


def test_a_short_time_is_kept_by_fewer_steps_or_refused(few_steps, monkeypatch):
    each = 0.001
    monkeypatch.setattr("assay.audit.probes.capacity._seconds_a_step", lambda *given: each)
    subject = classifier(2, n=30)
    finding = ask(NAME, subject, Context(seconds=13 * 60 * each))
    assert finding.measures["steps of a training"] == 60
    assert "used 60 of 100 steps" in finding.limits
    with pytest.raises(SkipProbe, match="--probe capacity --minutes"):
        ask(NAME, subject, Context(seconds=13 * 49 * each))


def test_what_cannot_be_trained_on_random_labels_is_skipped(context):
    with pytest.raises(SkipProbe, match="needs a classifier"):
        ask(NAME, small_regression(), context)
    subject = classifier(3, n=20)
    with pytest.raises(SkipProbe, match="two classes"):
        ask(NAME, replace(subject, train=(subject.train[0], torch.ones(20, dtype=torch.long))), context)
