from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from assay.core import seeded
from assay.data import load
from assay.lab import Run
from assay.nets import Recipe
from assay.studies.representation.convergent_learning import cells
from assay.studies.representation.convergent_learning.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("convergent-learning")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5"}


def test_a_pair_shares_neither_weights_nor_order() -> None:
    recipe = Recipe(hidden=8, epochs=1, batch_size=64)
    trained, untrained = cells.pair_of_networks(recipe, load("digits"), 128, 0)
    weights = [model[1].weight for model in (*trained, *untrained)]  # type: ignore[index]
    for place, first in enumerate(weights):
        assert not any(torch.equal(first, other) for other in weights[place + 1 :])
    # One step of Adam moves no weight by more than its rate.
    assert all((weights[k] - weights[k + 2]).abs().max() < 2.1e-3 for k in range(2))


def test_a_network_is_aligned_with_itself() -> None:
    data = load("digits")
    model = SMOKE.dense.build((1, 8, 8), 10, seeded(0))
    pair = cells.alignment([model, model], data.x_test, "2", SMOKE, 0)
    found = cells.summary(pair)
    assert found["match"] == found["semi"] == pytest.approx(1)
    assert found["one-to-one r2"] == pytest.approx(1)
    assert found["errors"][0] == pytest.approx(0, abs=1e-5)
    assert found["above 0.8"] == 1


def test_a_permuted_copy_is_put_back() -> None:
    found = cells.exact_controls(replace(SMOKE, dense=Recipe(hidden=(16, 8), epochs=1, batch_size=256)))
    assert found["units in place"] == 1
    assert found["least"] == pytest.approx(1)
