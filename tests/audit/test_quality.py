"""Fit of model and data, and what is said where the two do not belong together."""

import json
import re

import jsonschema
import numpy as np
import pytest
import torch
from torch import nn

from assay.audit import Subject, run_audit
from assay.audit.quality import measure_quality
from assay.audit.result import schema
from assay.core import binary_cross_entropy, cross_entropy, seeded, squared_error
from helpers.stand_ins import a_finding, a_probe, small_subject

N, CLASSES = 200, 4


def linear(weight, bias=None):
    """Return a linear layer of given weights."""
    weight = torch.as_tensor(weight, dtype=torch.float32)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).eval()
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = torch.as_tensor(bias, dtype=torch.float32)
    return layer


def samples(seed, *, right=1.0, n=N):
    """Draw one-hot inputs with their class as label, a share of them exactly, and the next class for the others."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(n) % CLASSES)
    x = 0.5 * np.eye(CLASSES)[labels] + draw.uniform(0, 0.4, (n, CLASSES))
    wrong = np.arange(n) >= round(right * n)
    return torch.tensor(x, dtype=torch.float32), torch.tensor((labels + wrong) % CLASSES)


def classifier(**changes):
    """Return a subject whose network answers the largest of its inputs."""
    given = {
        "model": linear(2.5 * np.eye(CLASSES)),
        "loss": cross_entropy,
        "train": samples(0, right=0.95),
        "test": samples(1, right=0.9),
    }
    return Subject(**(given | changes))


def regression(*, noise=0.1, shuffled=False, **changes):
    """Return a subject whose network adds its inputs up."""
    parts = {}
    for seed, part in enumerate(("train", "test")):
        draw = seeded(seed)
        x = torch.rand(N, CLASSES, generator=draw)
        y = x.sum(1, keepdim=True) + noise * torch.randn(N, 1, generator=draw)
        parts[part] = x, y[torch.randperm(N, generator=draw)] if shuffled else y
    return Subject(**({"model": linear(np.full((1, 4), 0.999)), "loss": squared_error} | parts | changes))


def test_accuracy_and_loss_are_those_of_the_formulas():
    subject = classifier()
    quality = measure_quality(subject)
    assert (quality.training.accuracy, quality.held_out.accuracy) == (0.95, 0.9)
    assert (quality.training.n, quality.held_out.n) == (N, N)
    scores = 2.5 * subject.train[0].double()
    own = scores.gather(1, subject.train[1][:, None]).squeeze(1)
    assert quality.training.loss == pytest.approx(float((scores.exp().sum(1).log() - own).mean()), rel=1e-5)
    assert quality.warnings == ()
    assert str(quality) == "training accuracy 95% (200 samples); held-out accuracy 90% (200 samples)"


def test_a_network_of_one_logit_is_right_where_the_sign_is():
    x, y = samples(0)
    signs = 2 * (y > 1).long() - 1
    model = linear([[-1.5, -1.5, 1.5, 1.5]])
    for labels in (signs, (signs + 1) // 2):
        quality = measure_quality(Subject(model=model, loss=binary_cross_entropy, train=(x, labels)))
        assert quality.training.accuracy == float(((model(x).squeeze(1) > 0) == (signs > 0)).double().mean())
        assert quality.warnings == ()


def test_a_network_of_numbers_has_a_loss_only():
    quality = measure_quality(regression())
    assert quality.training.accuracy is None
    assert quality.training.loss == pytest.approx(0.01, rel=0.3)
    assert quality.warnings == ()
    assert str(quality).startswith("training loss 0.0")


def test_a_part_that_is_not_given_is_not_measured():
    assert measure_quality(classifier(test=None)).held_out is None
    quality = measure_quality(classifier(train=None, test=None, input_shape=(CLASSES,)))
    assert (quality.training, quality.held_out, quality.warnings, str(quality)) == (None, None, (), "not measured")


def shuffled(x, y):
    """Return samples whose labels tell nothing: of each class, as many have one label as another."""
    return x, (torch.arange(len(y)) % CLASSES)[y.argsort(stable=True).argsort()]


def with_some_of(pairs, others, n):
    return tuple(torch.cat([own, more[:n]]) for own, more in zip(pairs, others, strict=True))


WARNINGS = {
    "shuffled labels": (
        lambda: classifier(train=shuffled(*samples(0)), test=None),
        ["accuracy of 25% .* is not significantly above the 25% of the commonest class, though .* answers 4 class"],
    ),
    "swapped parts": (
        lambda: classifier(train=samples(1, right=0.7), test=samples(0)),
        ["Held-out accuracy of 100% is significantly above training accuracy of 70%: are the two parts swapped"],
    ),
    "the same samples in both": (
        lambda: classifier(test=samples(0, right=0.95)),
        ["All 200 held-out samples are training samples too"],
    ),
    "three of the samples in both": (
        lambda: classifier(test=with_some_of(samples(1, right=0.9), samples(0), 3)),
        ["3 of 203 held-out samples are training samples too"],
    ),
    "one class": (
        lambda: classifier(train=(samples(0)[0][:40] / 9 + torch.eye(4)[2] / 2, torch.full((40,), 2)), test=None),
        [r"All 40 training samples are of one class \('class 2'\)"],
    ),
    "few samples": (
        lambda: classifier(train=samples(0, n=19)),
        ["There are only 19 training samples; give at least 20"],
    ),
    "one answer": (
        lambda: classifier(model=linear(0.1 * np.eye(4), [0, 9.5, 0, 0]), class_names=tuple("abcd"), test=None),
        ["The network answers 'b' for all 200 training samples"],
    ),
    "outputs that do not vary": (
        lambda: classifier(model=linear(np.zeros((4, 4)), [0, 0.5, 0, 0]), test=None),
        ["The network gives the same output for all 200 training samples"],
    ),
    "truncated weights": (
        lambda: classifier(model=linear(np.eye(4).round())),
        ["All 16 weights are whole numbers, as when they are saved as integers"],
    ),
    "weights truncated to zero": (
        lambda: classifier(model=linear(np.zeros((4, 4))), test=None),
        ["All 16 weights are zero", "gives the same output for all 200"],
    ),
    "shuffled targets": (
        lambda: regression(shuffled=True, test=None),
        ["Training loss of .* is not significantly below the .* of the best constant answer"],
    ),
    "swapped parts of a regression": (
        lambda: regression(train=regression(noise=0.3).train, test=regression(noise=0.1).test),
        ["Held-out loss of .* is significantly below training loss of"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), WARNINGS.values(), ids=WARNINGS.keys())
def test_each_sign_is_a_warning_and_the_only_one(make, expected):
    warnings = measure_quality(make()).warnings
    assert len(warnings) == len(expected)
    for warning, words in zip(warnings, expected, strict=True):
        assert re.search(words, warning), warning
        assert warning.count(". ") == 0


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_told_from_a_weak_network_by_the_interval(seed):
    """40% where the commonest class has about 25%: significant with 200 samples (interval from 33%), not with 20."""
    many, few = samples(seed, right=0.4), samples(seed, right=0.4, n=20)
    assert measure_quality(classifier(train=many, test=None)).warnings == ()
    (warning,) = measure_quality(classifier(train=few, test=None)).warnings
    assert warning.startswith("Training accuracy of 40% (95% interval 19% to 64%) is not significantly above the ")


def test_parts_larger_than_the_limit_are_measured_on_a_part(monkeypatch):
    monkeypatch.setattr("assay.audit.quality._SAMPLES", 50)
    quality = measure_quality(classifier())
    assert (quality.training.n, quality.held_out.n) == (50, 50)


def test_a_loss_that_is_infinite_is_a_warning():
    quality = measure_quality(regression(model=linear(np.full((1, 4), 1e30), [0.5]), test=None))
    assert quality.training is None
    assert quality.warnings == ("The fit to the training data cannot be measured: the mean loss is inf.",)


class SmallBatches(nn.Linear):
    def forward(self, x):
        if len(x) > 200:
            raise RuntimeError("too many at once\nin detail")
        return super().forward(x)


def test_a_network_that_fails_on_a_whole_batch_is_a_warning():
    network = SmallBatches(CLASSES, CLASSES).eval()
    quality = measure_quality(classifier(model=network, train=samples(0, n=300), test=None))
    assert quality.warnings == ("The fit to the training data cannot be measured: too many at once.",)


def test_findings_and_terminal_hold_the_quality(with_probes, tmp_path):
    with_probes(a_probe("good", lambda subject, context: a_finding()))
    subject = small_subject()
    result = run_audit(subject, out=tmp_path / "audit")
    facts = json.loads((result.folder / "findings.json").read_text())
    jsonschema.validate(facts, schema())
    quality = measure_quality(subject)
    assert facts["quality"]["warnings"] == list(quality.warnings)
    assert facts["quality"]["training"] == {
        "accuracy": quality.training.accuracy,
        "loss": quality.training.loss,
        "n": 6,
    }
    lines = str(result).splitlines()
    assert lines[1] == f"  fit         {quality}"
    assert lines[2] == f"  warning     {quality.warnings[0]}"
