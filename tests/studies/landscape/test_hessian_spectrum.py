from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.core import NumericalError
from assay.landscape import PathReport
from assay.studies.landscape.hessian_spectrum import cells, study

SMOKE = study.STUDY.scales["smoke"]


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("hessian-spectrum")


def test_every_claim_is_measured(run):
    measured = {evidence.claim for evidence in run.evidence if evidence.values}
    assert measured == {"C1", "C2", "C3", "C4", "C5", "C6"}
    assert run.figures[0]["name"] == "spectrum-by-width"


def test_a_cell_agrees_with_its_own_spectrum():
    cell = cells.curvature(SMOKE, 3, 4, 11)
    values = cell.pop("eigenvalues").numpy()
    assert len(values) == cell["parameters"] == 10 * 4 + 4 + 4 * 3 + 3
    assert cell["outliers"] == (values > 0.1 * values.max()).sum()
    assert cell["bulk fraction"] == pytest.approx((abs(values) < 1e-3 * values.max()).mean())
    assert cell["negativity"] == pytest.approx(-values.min() / values.max())
    again = cells.curvature(SMOKE, 3, 4, 11)
    assert np.array_equal(again.pop("eigenvalues"), values)
    assert again == cell


def test_spectra_compare_at_equal_loss_only():
    with pytest.raises(NumericalError, match="equal loss"):
        cells.curvature(replace(SMOKE, target_loss=1e-9, steps=20, separation=0.0), 2, 1, 0)


def test_a_line_is_described_by_its_losses():
    losses = torch.tensor([1.0, 6.0, 2.0], dtype=torch.float64)
    shown = cells.describe(PathReport(torch.linspace(0, 1, 3), losses, barrier=4.5, monotone=False, distance=0.5))
    assert torch.equal(shown.pop("losses"), losses)
    assert shown == {
        "loss at start": 1.0,
        "highest loss": 6.0,
        "loss at end": 2.0,
        "largest rise": 5.0,
        "peak over worse end": 3.0,
        "distance": 0.5,
    }


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    cells.large_then_small(replace(SMOKE, large_batch_steps=2, small_batch_steps=2), 0)
    assert torch.equal(before, torch.get_rng_state())
