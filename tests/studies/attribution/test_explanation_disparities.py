from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.attribution.disparities import simulate_concept_shift
from assay.core import binary_cross_entropy, seeded
from assay.lab import Run
from assay.studies.attribution.explanation_disparities import baseline, cells
from assay.studies.attribution.explanation_disparities.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured_or_said_not_to_be(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("explanation-disparities")
    assert {evidence.claim for evidence in run.evidence} == set(STUDY.claims)
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C3b", "C4", "C5"}


def test_linear_models_are_at_their_optimum() -> None:
    """The gradient of the loss is zero: the baseline is trained as well as can be."""
    data = simulate_concept_shift(2000, -0.7, generator=seeded(0))
    model = baseline.optimal_linear(data)
    loss = binary_cross_entropy(model(data.x.double()), data.y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4


def test_the_solver_sees_the_draws_of_the_networks() -> None:
    settings = replace(SMOKE, n_train=100, n_explained=30, neighbours=20, epochs=1)
    for experiment in ("covariate shift", "sample size"):
        trained, solved = (f(settings, experiment, 3) for f in (cells.simulated_gaps, baseline.optimal_linear_gaps))
        assert {name for name in trained if name.startswith("linear")} == set(solved)


def test_agreement_is_of_linear_models_alone() -> None:
    data = simulate_concept_shift(60, generator=seeded(0))
    network = cells.build(SMOKE, "network", 4, 0)
    linear = cells.build(SMOKE, "linear", 4, 0)
    assert cells.explained_gaps(network, data, data, 30, 0)["agreement gap"] == -1
    assert cells.explained_gaps(linear, data, data, 30, 0)["agreement gap"] >= 0


@pytest.mark.parametrize("name", ["breast cancer", "diabetes"])
def test_real_data_have_two_groups_and_labels(name: str) -> None:
    x, y, group = cells.real_data(name)
    assert set(y) == set(group) == {0, 1}
    assert np.allclose(x.std(0), 1)
