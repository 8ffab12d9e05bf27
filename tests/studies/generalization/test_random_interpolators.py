import math
from collections.abc import Callable

import pytest
import torch

from assay.lab import Run
from assay.studies.generalization.random_interpolators import cells
from assay.studies.generalization.random_interpolators.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("random-interpolators")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4"}


def test_a_narrow_network_has_the_prior_of_its_teacher() -> None:
    cell = cells.exact_prior(SMOKE, 1)
    assert cell["teacher probability"] == pytest.approx(3 / 243)
    assert cell["counting bound"] == cell["all weights"] == pytest.approx(5 * math.log(3))
    assert cell["width-1 functions"] == pytest.approx(1)


def test_a_trained_network_fits_its_points() -> None:
    x = torch.cartesian_prod(*7 * [torch.tensor([-1.0, 1.0])])
    y = (x[:, 0] > 0).long()
    error, restarts = cells.train(x, y, torch.arange(0, 128, 2), 8, 0)
    assert error <= 0.1
    assert restarts < cells.RESTARTS
