from collections.abc import Callable

import numpy as np
import pytest
import torch

from assay.core import seeded
from assay.lab import Run
from assay.nets import VAE
from assay.studies.representation.vae_active_variables import cells
from assay.studies.representation.vae_active_variables.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("vae-active-variables")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5", "C6"}


def test_a_square_covers_its_area_about_its_place() -> None:
    x, factors = cells.squares(50, 16, seeded(0))
    images, middle = x.view(50, 16, 16), torch.arange(16) + 0.5
    torch.testing.assert_close(images.sum((1, 2)), factors[:, 2] ** 2, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close((images.sum(1) * middle).sum(1) / images.sum((1, 2)), factors[:, 0], rtol=0, atol=0.1)
    torch.testing.assert_close((images.sum(2) * middle).sum(1) / images.sum((1, 2)), factors[:, 1], rtol=0, atol=0.1)


def test_quartiles_are_read_from_the_factors_and_not_from_noise() -> None:
    factors = torch.rand(2000, 3, generator=seeded(0))
    assert torch.bincount(cells.quartiles(factors[:, 0])).tolist() == [500, 500, 500, 500]
    assert cells.accuracy_of(factors, factors) > 0.9
    assert cells.accuracy_of(torch.randn(2000, 2, generator=seeded(1)), factors) == pytest.approx(0.25, abs=0.05)
    assert cells.accuracy_of(factors[:, :0], factors) == 0.25


def test_the_condition_number_ignores_scales() -> None:
    codes = torch.randn(500, 3, generator=seeded(0), dtype=torch.float64)
    correlation = np.corrcoef(codes.numpy().T)
    assert cells.condition(codes * torch.tensor([1.0, 1e-3, 9.0])) == pytest.approx(np.linalg.cond(correlation) ** 0.5)
    assert cells.condition(codes[:, :1]) == 1


def test_known_variables_are_sorted() -> None:
    assert cells.known_types(SMOKE)["right"] == 1


def test_codes_have_no_graph() -> None:
    assert not any(part.requires_grad for part in cells.encode(VAE(4, 2, hidden=(3,)), torch.ones(2, 4)))
