from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.core import NumericalError
from assay.studies.landscape.hessian_spectrum import study

SMOKE = study.STUDY.scales["smoke"]


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("hessian-spectrum")


def test_every_claim_is_measured(run):
    measured = {evidence.claim for evidence in run.evidence if evidence.values}
    assert measured == {"C1", "C2", "C3", "C4", "C5", "C6"}
    assert run.figures[0]["name"] == "spectrum-by-width"


def test_a_cell_agrees_with_its_own_spectrum():
    cell = study.blob_spectrum((SMOKE, 3.0, 3, 4, 11))
    values = np.array(cell["eigenvalues"])
    assert len(values) == cell["parameters"] == 10 * 4 + 4 + 4 * 3 + 3
    assert cell["outliers"] == (values > 0.1 * values.max()).sum()
    assert cell["bulk_fraction"] == pytest.approx((abs(values) < 1e-3 * values.max()).mean())
    assert cell["negativity"] == pytest.approx(-values.min() / values.max())
    assert study.blob_spectrum((SMOKE, 3.0, 3, 4, 11)) == cell


def test_spectra_compare_at_equal_loss_only():
    with pytest.raises(NumericalError, match="equal loss"):
        study.blob_spectrum((replace(SMOKE, target_loss=1e-9, steps=20), 0.0, 2, 1, 0))


def test_nets_are_arranged_by_classes_widths_seeds():
    cells = [{"outliers": 100 * c + 10 * w + s} for c in range(2) for w in range(3) for s in range(4)]
    table = study.Nets(cells, 2, 3)["outliers"]
    assert table.shape == (2, 3, 4)
    assert table[1, 2, 3] == 123


def test_peak_is_measured_against_the_worse_end():
    assert study.peaks(np.array([[1.0, 6.0, 2.0], [3.0, 1.0, 1.0]])).tolist() == [3.0, 1.0]


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    study.large_then_small((replace(SMOKE, large_batch_steps=2, small_batch_steps=2), 0))
    assert torch.equal(before, torch.get_rng_state())
