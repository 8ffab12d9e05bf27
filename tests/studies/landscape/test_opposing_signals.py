from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.studies.landscape.opposing_signals import cells, optimizers, study

SMOKE = study.STUDY.scales["smoke"]


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("opposing-signals")


def test_every_claim_is_measured(run):
    measured = {evidence.claim for evidence in run.evidence if evidence.values}
    assert measured == {"C1", "C2", "C3", "C4", "C5", "C6", "C7"}
    untested = [evidence.what for evidence in run.evidence if evidence.reason is not None]
    assert any("grokking" in what for what in untested)
    assert [figure["name"] for figure in run.figures] == ["antiphase", "spike", "sharpening", "images"]


def test_flow_agrees_with_its_formulas():
    cell = cells.linear_flow(SMOKE, 1)
    assert cell["formula error"] < 0.01  # at four time units, the flow has nearly ended
    assert cell["drift"] < 1e-6
    assert cell["Hessian error"] < 1e-12
    assert cell["growth"] == pytest.approx(cell["final sharpness"] / cell["initial sharpness"])


def test_a_spike_is_read_from_the_losses():
    cell = cells.linear_descent(study.STUDY.scales["small"], 1.5, 1)
    losses = cell["loss"].numpy()
    peak = cell["peak step"]
    assert losses[peak] == cell["peak"]
    assert cell["spike"] == pytest.approx(losses[peak] / losses[: peak + 1].min())
    assert cell["spike"] == pytest.approx((losses / np.minimum.accumulate(losses).clip(1e-12)).max())
    calm = cells.linear_descent(study.STUDY.scales["small"], 0.8, 1)
    assert calm["highest over edge"] <= 1


def test_the_control_differs_by_the_feature_alone():
    with_feature, without = (cells.drawn(SMOKE, feature, 3) for feature in (True, False))
    moved = (with_feature.x != without.x).any(1).nonzero()[:, 0]
    assert sorted(moved.tolist()) == sorted(with_feature.outliers.tolist())


def test_the_network_is_trained_at_the_given_rate():
    slow, fast = (cells.planted(SMOKE, lr, True, 3)["all"] for lr in (0.001, 0.002))
    step = (slow[1] - slow[0]) / (fast[1] - fast[0])
    assert step.item() == pytest.approx(0.5, rel=0.1)  # to first order, the loss falls by the rate


def test_an_optimiser_is_tuned_by_the_rises_of_the_loss(monkeypatch):
    runs = iter([(100, 0), (60, 0), (40, 3), (70, 9)])
    monkeypatch.setattr(optimizers, "_train", lambda *given: next(runs))
    found = optimizers.optimizers(replace(SMOKE, rates=4), "Adam", True, 0)
    assert (found["stable rate"], found["stable steps"]) == (0.0005, 60)
    assert (found["best rate"], found["best steps"]) == (0.001, 40)
    assert found["rises"].tolist() == [0, 0, 3, 9]


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    cells.images(SMOKE, 0)
    cells.planted(SMOKE, 0.05, True, 0)
    assert torch.equal(before, torch.get_rng_state())
