from collections.abc import Callable

import pytest
import torch

from assay.core import seeded
from assay.lab import Run
from assay.studies.generalization.gradient_coherence import cells
from assay.studies.generalization.gradient_coherence.study import STUDY

SMOKE = STUDY.scales["smoke"]


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("gradient-coherence")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4"}


def test_labels_are_permuted_among_the_chosen_samples() -> None:
    y = torch.randint(10, (400,), generator=seeded(0))
    assert torch.equal(cells.permuted(y, 0.0, 1), y)
    half = cells.permuted(y, 0.5, 1)
    assert torch.equal(half.bincount(), y.bincount())
    # 200 samples are chosen, of which a tenth keeps its label by chance: 180, with a standard deviation of four.
    assert 160 <= int((half != y).sum()) <= 200


def test_known_coherence_is_exact() -> None:
    assert max(cells.identities(SMOKE).values()) == pytest.approx(0, abs=1e-9)
