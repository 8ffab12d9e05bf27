import math
from collections.abc import Callable

import pytest
import torch

from assay.core import seeded
from assay.lab import Run
from assay.studies.representation.diffusion_spectral_entropy import baselines, cells
from assay.studies.representation.diffusion_spectral_entropy.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("diffusion-spectral-entropy")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == set(STUDY.claims)


def test_information_of_shuffled_labels_runs_from_all_to_nothing() -> None:
    assert baselines.true_information(0.0) == pytest.approx(math.log2(3))
    assert baselines.true_information(1.0) == pytest.approx(0)
    # Of labels that are kept with probability 2/3 + 1/9: a table of nine cells.
    joint = torch.full((3, 3), 1 / 27).double() + torch.eye(3) * 2 / 9
    expected = float((joint * (9 * joint).log2()).sum())
    assert baselines.true_information(1 / 3) == pytest.approx(expected)


def test_baselines_know_separate_groups() -> None:
    y = torch.arange(300) % 3
    x = 30.0 * torch.nn.functional.one_hot(y) + torch.randn(300, 3, generator=seeded(0))
    assert baselines.neighbour_information(x, y) == pytest.approx(math.log2(3), abs=0.1)
    assert baselines.critic_information(x, y, 60, 0) == pytest.approx(math.log2(3), abs=0.2)
    shuffled = y[torch.randperm(300, generator=seeded(1))]
    assert abs(baselines.neighbour_information(x, shuffled)) < 0.2


def test_the_estimate_is_compared_with_all_eigenvalues() -> None:
    cell = cells.agreement(SMOKE, 1, 0)
    assert cell["in errors"] == pytest.approx(cell["gap"] / cell["error"])
    assert 0 < cell["exact"] < math.log2(SMOKE.agreement_samples)
