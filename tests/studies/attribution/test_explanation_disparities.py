from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from assay.attribution.disparities import simulate_concept_shift
from assay.core import seeded
from assay.lab import Run
from assay.studies.attribution.explanation_disparities import cells
from assay.studies.attribution.explanation_disparities.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured_or_said_not_to_be(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("explanation-disparities")
    assert {evidence.claim for evidence in run.evidence} == set(STUDY.claims)
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C3b", "C4", "C5"}


def test_linear_models_reach_their_optimum() -> None:
    """The baseline is trained as well as a solver would, at the epochs of `small`."""
    data = simulate_concept_shift(2000, -0.7, generator=seeded(0))
    settings = replace(SMOKE, epochs=60)
    (model,) = cells.train_stacked(settings, "linear", [data], 0)
    best = LogisticRegression(C=np.inf).fit(data.x.numpy(), data.y.numpy())
    found = torch.sigmoid(model(data.x)).detach().numpy()[:, 0]
    assert np.abs(found - best.predict_proba(data.x.numpy())[:, 1]).max() < 0.02


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
