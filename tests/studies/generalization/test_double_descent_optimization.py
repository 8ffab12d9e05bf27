from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from assay.lab import Run
from assay.studies.generalization.double_descent_optimization import cells, problems, training
from assay.studies.generalization.double_descent_optimization.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("double-descent-optimization")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5", "C6"}


def test_a_fifth_of_the_labels_is_drawn_anew() -> None:
    x, y, x_test, _ = problems.draw_problem("digits", 900, 1)
    clean = problems.draw_problem("digits", 900, 1, noise=0.0)
    assert torch.equal(x, clean[0])
    assert len(x) + len(x_test) == 1797
    # A redrawn label is another one in nine cases of ten: 0.18, with the deviation 0.013 of 900 draws, four times.
    assert float((y != clean[1]).double().mean()) == pytest.approx(0.18, abs=0.052)
    assert problems.draw_problem("fashion", 5, 1)[0].shape == (5, 196)


def test_curves_from_the_modes_are_those_of_the_models() -> None:
    settings = replace(SMOKE, widths=(20, 40, 120), n=40, draws=1, n_iter=(100,))
    cell = cells.descent_curves(settings, "center", 3)
    model = training.settings_of_training(100)["base"]
    assert len(cell["test loss curve"][0]) == 3
    (draw,) = cells.spawn_seeds(3, 1)
    problem = problems.draw_problem("digits", 40, 3)
    found = cells.descend(problem, "center", 40, draw, settings)
    features = cells.RandomFeatures(40, normalization="center", random_state=draw).fit(problem[0].numpy())
    phi = torch.from_numpy(features.transform(problem[0].numpy()))
    targets = torch.nn.functional.one_hot(problem[1], 10).double()
    targets = targets - targets.mean(0)
    modes = cells.FeatureModes.of(phi)
    weights = model.procedure(phi, targets, modes, torch.zeros(40, 10, dtype=torch.float64)).weights
    assert found["train_loss"].item() == pytest.approx((phi @ weights - targets).square().sum(1).mean().item())


def test_every_factor_varies_settings_that_exist() -> None:
    assert set(training.SETTINGS) == set(training.settings_of_training(100))
    bases = [names for names in training.FACTORS.values() if "base" not in names]
    assert bases == [("batch 10", "batch 50", "lr 0.1", "batch 10, decaying")]
