"""The time that probes take: estimated on the subject's network, kept, and said."""

from dataclasses import replace

import pytest
import torch

from assay.audit import Context, SkipProbe
from assay.audit import probes as registry
from assay.audit.budget import affordable, command_for, cut_short, measure_seconds, say_seconds
from assay.audit.probes import curvature
from assay.core import seeded
from helpers.stand_ins import small_subject


def ask(name, subject, **options):
    return registry.load(name).run(subject, Context(**options))


def test_the_shortest_run_counts():
    seen = []
    assert measure_seconds(lambda: seen.append(0)) < 0.1
    assert len(seen) == 3


def test_what_fits_and_what_is_said_of_the_rest():
    assert [affordable(10, each=each, seconds=40) for each in (1.0, 8.0, 41.0)] == [10, 5, 0]
    assert cut_short("curvature", 10, 10, "training samples", 99.0) == ""
    said = cut_short("curvature", 5, 10, "training samples", 96.0)
    assert said == f"To keep its time, it used 5 of 10 training samples; all of them: {command_for('curvature', 96)}."
    assert command_for("curvature", 96).endswith("--probe curvature --minutes 2")
    assert say_seconds(720.0) == "12 minutes"


@pytest.mark.parametrize(
    "name",
    [
        *("coherence", "curvature", "decision_regions", "layer_information", "learning_rate", "logit_gaps"),
        *("off_subspace", "opposing", "reconstruction", "redundancy", "robustness", "saliency"),
    ],
)
def test_without_time_a_probe_is_skipped_with_the_command_that_runs_it(digits, name):
    with pytest.raises(SkipProbe, match=rf"one probe may take .* here; run it alone .*--probe {name} --minutes"):
        ask(name, digits, seconds=1e-6)


@pytest.mark.parametrize("name", ["logit_gaps", "off_subspace"])
def test_with_less_time_fewer_samples_are_used_and_that_is_said(digits, name, monkeypatch):
    seconds = iter([0.05, 0.05])
    monkeypatch.setattr(f"assay.audit.probes.{name}.measure_seconds", lambda work: next(seconds))
    subject = replace(digits, train=tuple(part[:30] for part in digits.train))
    limits = ask(name, subject, seconds=0.25).limits
    assert "To keep its time, it used" in limits


@pytest.fixture
def few_steps(monkeypatch):
    """A small network, whose spectrum ten Lanczos steps do not resolve."""
    monkeypatch.setattr(curvature, "DENSE_LIMIT", 0)
    monkeypatch.setattr(curvature, "_STEPS", 10)
    x, y = torch.rand(60, 1, 4, 4, generator=seeded(3)), torch.randint(3, (60,), generator=seeded(4))
    return small_subject(train=(x, y), test=None)


def exact_spectrum(subject):
    from assay.core import HessianOperator

    matrix = HessianOperator(subject.model, *subject.train, subject.loss).to_dense().double()
    return torch.linalg.eigvalsh((matrix + matrix.T) / 2)


def test_curvature_that_does_not_converge_takes_more_steps(few_steps):
    finding = ask("curvature", few_steps)
    assert "outliers (above 10% of the largest)" in finding.measures
    assert finding.measures["largest eigenvalue"] == pytest.approx(exact_spectrum(few_steps)[-1].item(), rel=1e-3)


def test_curvature_out_of_steps_says_the_ends_and_their_error(few_steps, monkeypatch):
    spectrum = exact_spectrum(few_steps)
    lowest, largest = spectrum[0].item(), spectrum[-1].item()
    monkeypatch.setattr(curvature, "_STEPS", 4)
    monkeypatch.setattr(curvature, "_MOST_STEPS", 4)
    finding = ask("curvature", few_steps)
    found, error = (finding.measures[name] for name in ("largest eigenvalue", "error of the largest eigenvalue"))
    assert found <= largest * (1 + 1e-4)
    assert (spectrum - found).abs().min() <= max(error, 1e-4 * largest)
    assert finding.measures["smallest eigenvalue"] >= lowest - 1e-4 * largest
    assert "the others did not converge" in finding.headline
    assert not finding.figures
