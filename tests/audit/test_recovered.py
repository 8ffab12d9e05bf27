"""Samples by exact equations stand before what a search has found, and their copies in it are dropped."""

from dataclasses import replace

import pytest
import torch

from assay.audit import recovered
from assay.audit.recovered import lead_by_exact
from assay.nets import mlp
from assay.reconstruction import ExactSamples, KKTReconstructor
from assay.reconstruction.kkt import reconstructor


def network(outputs=1, hidden=(9,)):
    return mlp((12, *hidden, outputs), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def searched(monkeypatch):
    """Return a function that searches a network and calls what it finds samples."""
    judge = reconstructor.judge
    monkeypatch.setattr(reconstructor, "judge", lambda *args, **known: replace(judge(*args, **known), outcome="found"))
    return lambda model, **options: KKTReconstructor(n_candidates=8, n_restarts=2, n_iter=20, **options).fit(model)


def test_samples_read_off_lead_and_their_copies_are_dropped(monkeypatch, searched):
    plain = searched(network())
    other = torch.randn(1, 12, generator=torch.Generator().manual_seed(5))
    samples = torch.cat([2 * plain.reconstructions_[:1], other])
    labels = torch.cat([plain.labels_[:1], torch.tensor([1])])
    given = ExactSamples(samples, torch.tensor([0.5, 0.7]), labels, torch.tensor([3, 2]))
    monkeypatch.setattr(recovered, "exact_samples", lambda model, **options: given)
    led = lead_by_exact(plain, network(), seed=0)
    assert torch.equal(led.exact, samples)
    assert torch.equal(led.agreed, torch.cat([samples, plain.reconstructions_[1:]]))
    assert led.support.tolist() == [2, 2, *plain.support_[1:].tolist()]
    assert torch.equal(led.cohesion, torch.cat([torch.ones(2), plain.cohesion_[1:]]))
    assert torch.equal(led.pool, torch.cat([samples, plain.pool_]))


def test_a_copy_with_another_class_is_kept(monkeypatch, searched):
    plain = searched(network())
    given = ExactSamples(plain.reconstructions_[:1], torch.ones(1), 1 - plain.labels_[:1], torch.tensor([3]))
    monkeypatch.setattr(recovered, "exact_samples", lambda model, **options: given)
    assert torch.equal(lead_by_exact(plain, network(), seed=0).agreed[1:], plain.reconstructions_)


def unread(model, **options):
    raise AssertionError("equations were solved where there are none")


@pytest.mark.parametrize(
    ("model", "options"), [(network(3), {"objective": "multiclass"}), (network(), {"objective": "regression"})]
)
def test_other_objectives_have_no_exact_equations(monkeypatch, searched, model, options):
    monkeypatch.setattr(recovered, "exact_samples", unread)
    plain = searched(model, **options)
    led = lead_by_exact(plain, model, seed=0)
    assert len(led.exact) == 0
    assert torch.equal(led.agreed, plain.reconstructions_)
    assert torch.equal(led.pool, plain.pool_)


def test_nothing_is_solved_for_where_the_verdict_is_that_nothing_was_found(monkeypatch):
    monkeypatch.setattr(recovered, "exact_samples", unread)
    plain = KKTReconstructor(n_candidates=8, n_restarts=2, n_iter=2).fit(network())
    assert plain.verdict_.outcome == "nothing found"
    led = lead_by_exact(plain, network(), seed=0)
    assert len(led.exact) == len(led.agreed) == 0
    assert len(led.pool) == 16


def test_two_hidden_layers_have_no_exact_equations(searched):
    model = network(hidden=(9, 9))
    assert len(lead_by_exact(searched(model), model, seed=0).exact) == 0
