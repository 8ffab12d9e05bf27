"""The seed of training is guessed, and training samples are found by it, or the finding says why not."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from jaxtyping import config
from torch import nn

from assay.audit import Context, SkipProbe, Subject, start_search
from assay.audit.probes.initial_weights import run
from assay.audit.start_search import SEEDS
from assay.core import binary_cross_entropy
from assay.data import load
from helpers.stand_ins import small_subject

N = 10
SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
DIGITS = load("digits")


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 1))


def tutorial(build=dense, optimizer=SGD, before=None, epochs=60):
    """Train on ten digits as a plain script does, and return the weights before training too."""
    with torch.random.fork_rng():
        torch.manual_seed(42)
        if before is not None:
            before()
        model = build()
        start = {name: value.clone() for name, value in model.state_dict().items()}
        x, y = DIGITS.x_train[:N], DIGITS.y_train[:N] % 2
        steps = optimizer([value for value in model.parameters() if value.requires_grad])
        for _ in range(epochs):
            for batch in torch.randperm(N).split(5):
                steps.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(model(x[batch])[:, 0], y[batch].float()).backward()
                steps.step()
    held_out = DIGITS.x_test[:200], DIGITS.y_test[:200] % 2
    return Subject(model.eval(), binary_cross_entropy, train=(x, y), test=held_out), start


@pytest.fixture(scope="module", autouse=True)
def _short_search():
    """Ten small images are found in a fifth of the steps; a search takes six times as long under the shape checks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "jaxtyping_disable", True)
        patch.setattr("assay.audit.known_start._STEPS", 300)
        yield


@pytest.fixture(scope="module")
def trained():
    return tutorial()


@pytest.fixture(scope="module")
def found(trained):
    return run(trained[0], Context(seconds=600))


def matches(finding):
    return {row[0]: row[4] for row in finding.tables[0].rows}


def test_the_seed_is_named_with_the_exact_number_of_samples_and_their_pictures(found):
    assert found.headline.startswith("The seed is 42. There were exactly 10 training samples.")
    assert len(found.headline) <= 160
    assert found.measures["seed"] == 42
    counts = matches(found)
    assert counts["all candidates of the attack"] >= 8
    assert max(count for name, count in counts.items() if name.startswith("null")) <= 4
    assert found.severity in ("medium", "high")
    assert len(found.figures) == N
    assert all(len(figure.pictures) == 2 for figure in found.figures)
    assert "secret" in found.advice
    assert "trained on 10 samples" in found.limits


def test_a_seed_outside_the_list_is_not_found(trained, context, monkeypatch):
    monkeypatch.setattr(start_search, "SEEDS", tuple(range(100, 140)))
    finding = run(trained[0], context)
    assert finding.headline == "None of the 40 seeds tried is the start of these weights."
    assert finding.severity == "info"
    assert not finding.figures
    assert "would not be found" in finding.limits
    assert "seed" not in finding.measures


def test_the_list_holds_what_scripts_use():
    assert {*range(1000), 1234, 1337, *range(2020, 2027), 3407, 12345, 31337, 42424242, 0xDEADBEEF} <= set(SEEDS)
    assert len(set(SEEDS)) == len(SEEDS)


def test_after_adam_the_seed_is_a_finding_without_pictures(context):
    finding = run(tutorial(optimizer=partial(torch.optim.Adam, lr=1e-3))[0], context)
    assert finding.headline == "The seed is 42. With it, this attack recovers no training sample here."
    assert finding.severity == "low"
    assert not finding.figures
    assert "Adam" in finding.limits


def test_given_weights_before_training_are_taken_instead_of_a_guess(trained, found, context, monkeypatch):
    monkeypatch.setattr(start_search, "guess_initial_state", None)
    subject, start = trained
    finding = run(replace(subject, initial_state=start), context)
    assert finding.headline.startswith("The start is known. There were")
    assert matches(finding) == matches(found)
    assert "seed" not in finding.measures


def test_given_weights_of_another_network_are_no_start(trained, context):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = dense().state_dict()
    finding = run(replace(trained[0], initial_state=other), context)
    assert finding.severity == "info"
    assert "not in the trained ones" in finding.headline


def test_without_data_candidates_are_shown_as_such(trained, context):
    subject = replace(trained[0], train=None, test=None, input_shape=(1, 8, 8))
    finding = run(subject, context)
    assert finding.headline.startswith("The seed is 42. There were exactly 10 training samples.")
    assert finding.severity in ("medium", "low")
    assert 0 < len(finding.figures) <= N
    assert all(len(figure.pictures) == 1 for figure in finding.figures)
    assert "does not prove" in finding.limits
    assert not finding.tables


def test_a_shuffle_of_the_data_before_the_network_is_tried(context, monkeypatch):
    monkeypatch.setattr(start_search, "SEEDS", tuple(range(40, 50)))
    finding = run(tutorial(before=lambda: torch.randperm(60000))[0], context)
    assert finding.measures["seed"] == 42


def test_an_untrained_network_is_called_so(context):
    finding = run(tutorial(epochs=0)[0], context)
    assert finding.severity == "info"
    assert "was not trained" in finding.headline


def conv(*, frozen):
    first = nn.Conv2d(1, 2, 3).requires_grad_(not frozen)
    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(72, 100), nn.ReLU(), nn.Linear(100, 1))


def test_behind_trained_convolutions_the_seed_is_found_and_nothing_else_is_claimed(context):
    finding = run(tutorial(partial(conv, frozen=False))[0], context)
    assert finding.measures["seed"] == 42
    assert finding.severity == "low"
    assert "in front of the dense head were trained too (0.weight" in finding.limits


def test_behind_frozen_layers_the_heads_inputs_are_found(context):
    slow = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    finding = run(tutorial(partial(conv, frozen=True), slow)[0], context)
    assert "exactly 10 training samples" in finding.headline
    assert "features" in finding.headline
    assert not finding.figures


def test_layers_that_no_rule_draws_are_skipped_with_the_mend(context):
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1, 1, 48).reshape(16, 3))

        def forward(self, x):
            return x.flatten(1) @ self.weight

    with pytest.raises(SkipProbe, match=r"reset_parameters draws weight.*initial_state"):
        run(small_subject(model=Owner().eval()), context)


def test_out_of_time_fewer_seeds_are_tried_and_that_is_said(trained, monkeypatch):
    monkeypatch.setattr(start_search, "SEEDS", tuple(range(100, 140)))
    finding = run(trained[0], Context(seconds=1e-6))
    assert finding.measures["seeds tried"] == 1
    assert "it used 1 of" in finding.limits
    assert "--probe initial_weights" in finding.limits


def test_out_of_time_for_the_search_the_seed_is_still_a_finding(trained, monkeypatch):
    monkeypatch.setattr(start_search, "SEEDS", (42,))
    finding = run(trained[0], Context(seconds=1e-6))
    assert finding.severity == "low"
    assert "run it alone with more time" in finding.limits
