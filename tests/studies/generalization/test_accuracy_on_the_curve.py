from collections.abc import Callable

import numpy as np
import pytest
import torch

from assay.core import InvalidInputError
from assay.lab import Run
from assay.studies.generalization.accuracy_on_the_curve import analysis, cells
from assay.studies.generalization.accuracy_on_the_curve.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("accuracy-on-the-curve")
    claims = {evidence.claim for evidence in run.evidence}
    assert claims == {"C1", "C2", "C3", "C4", "C5", "C6"}


def test_the_core_feature_and_the_attribute_are_as_stated() -> None:
    x, y, z = cells.synthetic_samples(torch.tensor([[300, 100], [200, 400]]), 0)
    assert [int(((y == label) & (z == value)).sum()) for label in (0, 1) for value in (0, 1)] == [300, 100, 200, 400]
    agrees = (x[:, 0] * x[:, 1] > 0) == (y == 1)
    assert agrees.double().mean() > 0.99
    for column in (0, 1):  # alone, neither says anything: five standard errors
        assert abs(float(((x[:, column] > 0) == (y == 1)).double().mean()) - 0.5) < 5 * 0.5 / 1000**0.5
    assert ((x[:, 2] > 0) == (z == 1)).double().mean() > 0.95


def test_tables_of_images_are_those_of_the_paper_in_small() -> None:
    tables = cells.image_tables(STUDY.scales["paper"])
    vehicle_on_land = {name: table.tolist() for name, (table, _) in tables.items()}
    assert vehicle_on_land["V1"] == [[4500, 500], [500, 4500]]
    assert vehicle_on_land["V2"] == [[4500, 500], [4500, 500]]
    assert vehicle_on_land["strength 0.6"] == [[1500, 3500], [4500, 500]]  # air: vehicles, animals; land
    for name, (table, majority) in tables.items():
        if name in ("V1", "V2"):
            assert table[majority].min() > table[~majority].max()


def test_networks_alike_in_all_but_seeds_are_counted_in_their_place() -> None:
    found = cells.synthetic_pool(SMOKE, 4)
    assert found["right"].shape == (SMOKE.synthetic.models, len(SMOKE.shares), SMOKE.seeds, 2, 2)
    assert (found["right"] <= found["count"]).all()


def test_the_gap_between_attributes_is_the_theorems_for_answers_that_ignore_them() -> None:
    right, count = np.array([[[[60, 60], [90, 90]]]]), np.full((2, 2), 100)
    parts = analysis.attribute_gaps(right, count, torch.tensor([[90, 10], [30, 70]]))
    assert parts["residual"] == pytest.approx(0.0, abs=1e-12)
    assert parts["gap"] == pytest.approx(parts["theorem"])
    assert parts["gap"] == pytest.approx((10 * 0.6 + 70 * 0.9) / 80 - (90 * 0.6 + 30 * 0.9) / 120)


def test_a_stratum_without_variety_is_not_judged() -> None:
    right = np.full((9, 2, 2, 2), 50)
    count = np.full((2, 2), 100)
    assert analysis.below_chord(right, count, analysis.ALIGNED) is None
    with pytest.raises(InvalidInputError):
        analysis.shape(right[:, 0], count, analysis.ALIGNED)
