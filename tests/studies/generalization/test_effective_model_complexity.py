from collections.abc import Callable

import numpy as np
import pytest
import torch

from assay.generalization.capacity import cover_probability
from assay.lab import Run
from assay.studies.generalization.effective_model_complexity import cells, study, summaries

SMOKE = study.STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("effective-model-complexity")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5"}


def test_a_linear_program_separates_what_is_separable() -> None:
    source = np.random.default_rng(0)
    x = source.normal(size=(50, 4))
    y = (x @ np.array([1.0, -2.0, 0.5, 3.0]) > 0).astype(int)
    assert (cells.Separation().fit(x, y).predict(x) == y).all()
    y[np.argmax(abs(x @ np.array([1.0, -2.0, 0.5, 3.0])))] ^= 1  # a label deep in its half-space
    assert not (cells.Separation().fit(x, y).predict(x) == y).all()


def test_the_share_of_separable_labellings_is_covers() -> None:
    cell = cells.separable(SMOKE, 24)
    p = cover_probability(24, cells.DIMENSIONS)
    assert cell["Cover"] == p
    assert abs(cell["share"] - p) < 4 * (p * (1 - p) / SMOKE.cover_trials) ** 0.5


@pytest.mark.parametrize(("name", "parameters"), [("MLP 12-12 ReLU", 1066), ("CNN 6-6-6 ReLU", 970)])
def test_the_networks_have_the_sizes_that_the_claims_speak_of(name: str, parameters: int) -> None:
    model = cells.NETWORKS[name]()
    assert sum(value.numel() for value in model.parameters()) == parameters
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_correlation_has_one_value_for_each_repeat() -> None:
    one = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 1.0], [3.0, 3.0, 1.0]])
    other = np.array([[5.0, 9.0, 1.0], [6.0, 8.0, 2.0], [9.0, 1.0, 3.0]])
    assert summaries.correlations(one, other) == pytest.approx([1.0, -1.0, 0.0])
