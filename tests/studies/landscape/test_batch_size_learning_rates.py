import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from assay.core import cross_entropy, mean_loss, seeded
from assay.studies.landscape.batch_size_learning_rates import ceilings, cells, matrices, measures, study

SMOKE = study.STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run):
    run = smoke_run("batch-size-learning-rates")
    measured = {evidence.claim for evidence in run.evidence if evidence.values}
    assert measured == {"C1", "C2", "C3", "C4", "C5", "C6"}
    assert run.figures[0]["name"] == "ceilings"


@pytest.mark.parametrize(("optimizer", "plain"), [("SGD", torch.optim.SGD), ("Adam", torch.optim.Adam)])
def test_a_stack_ends_as_each_network_alone_does(optimizer, plain):
    """A rate survives exactly where the network, trained alone at it on the same batches, ends below its start."""
    x, y = torch.randn(40, 64, generator=seeded(0)), torch.arange(40) % 10
    rates = torch.tensor([1e-3, 0.3, 30.0])
    model = cells.tanh_network(1)
    options = {"optimizer": optimizer, "batch_size": 8, "n_iter": 12, "orders": 1, "seed": 3}
    found = ceilings.survivors(model, x, y, rates, **options)
    start = mean_loss(model, x, y, cross_entropy)
    index = ceilings.batches_of(40, 8, 12, seeded(3))
    for rate, lower in zip(rates.tolist(), found.lower[:, 0].tolist(), strict=True):
        alone = cells.tanh_network(1)
        step = plain(alone.parameters(), lr=rate)
        for some in index:
            step.zero_grad()
            nn.functional.cross_entropy(alone(x[some]), y[some]).backward()
            step.step()
        assert lower == (mean_loss(alone, x, y, cross_entropy) < start)
    assert not (found.stable & ~found.lower).any()
    assert found.lower[0, 0]
    assert mean_loss(model, x, y, cross_entropy) == start


def test_the_largest_rate_of_a_quadratic_is_two_over_the_curvature():
    """Near its minimum the logistic loss of one feature has the curvature 1/2 in the difference of the two weights."""
    x, y = torch.ones(4, 1), torch.tensor([0, 1, 0, 1])
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1e-2], [-1e-2]]))
    log_rates = torch.arange(0.0, 4.0, 0.25)
    options = {"optimizer": "SGD", "batch_size": 4, "n_iter": 20, "orders": 1, "seed": 0}
    found = ceilings.survivors(model.double(), x.double(), y, 2 ** log_rates.double(), **options)
    assert ceilings.log_ceiling(log_rates, found.stable) == pytest.approx(2.0, abs=0.25)


def test_the_rate_that_half_survive_lies_between_all_and_none():
    survived = torch.tensor([[True, True], [True, False], [False, False]])
    assert ceilings.log_ceiling(torch.tensor([1.0, 2.0, 3.0]), survived) == 2.0


def test_batches_are_epochs_without_repetition():
    index = ceilings.batches_of(10, 4, 5, seeded(0))
    assert index.shape == (5, 4)
    for epoch in (index[0:2], index[2:4]):
        assert len(epoch.flatten().unique()) == 8


def test_networks_start_at_the_same_loss():
    x, y = cells.digits(SMOKE)
    model = cells.warmed_up(SMOKE, 1)
    assert mean_loss(model, x, y, cross_entropy) == pytest.approx(SMOKE.loss, rel=0.1)
    torch.testing.assert_close(x.mean(0), torch.zeros(64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [30, 5, 3])
def test_a_spike_changes_one_feature_only(n):
    x = torch.randn(n, 5, generator=seeded(0))
    raised = x.clone()
    raised[:, 0] *= math.sqrt(7)
    first = x[:, 0]
    torch.testing.assert_close(matrices._between_features(x.T @ x, first, 7.0), raised.T @ raised)
    torch.testing.assert_close(matrices._between_samples(x @ x.T / n, first, 7.0), raised @ raised.T / n)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_the_covariance_has_the_predicted_top(ratio):
    """Mean of four matrices of 400 features: the standard error is under 3 percent, of which 10 are allowed."""
    found = matrices.covariance(replace(SMOKE, size=400, draws=4), ratio, 0)
    assert max(found["above"], found["below"]) < 0.1


def test_slopes_are_those_of_a_power_law():
    sizes = (2, 8, 32, 128)
    log_rates = np.array([[1.0, 3.0, 5.0, 5.5], [2.0, 2.0, 2.0, 4.0]]).T
    assert measures.slopes(log_rates, sizes) == pytest.approx([1.0, 0.0])
    assert measures.slopes(log_rates, sizes, above=True) == pytest.approx([0.25, 1.0])


def test_the_learner_is_polyaks_on_the_quadratic():
    found = cells.quadratic(SMOKE, 5)
    assert found["rate"] < 0.02
    assert 0.9 < found["steps"] < 1.1
