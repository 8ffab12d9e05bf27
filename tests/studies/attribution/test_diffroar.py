import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from assay.core import accuracy, predict, seeded
from assay.lab import Run
from assay.studies.attribution.diffroar import cells, training
from assay.studies.attribution.diffroar.settings import Training
from assay.studies.attribution.diffroar.study import STUDY


def test_every_claim_is_measured(smoke_run: Callable[[str], Run]) -> None:
    run = smoke_run("diffroar")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4", "C5"}


def test_a_hard_margin_machine_has_the_pattern_of_the_theorem() -> None:
    found = cells.theorem(STUDY.scales["smoke"])
    assert max(found["unequal"], found["noise weight"], found["angle"]) < 1e-4
    assert found["standard errors"] < 4
    assert found["best random neuron"] < 1


def test_adversarial_training_keeps_the_margin_that_the_data_allow() -> None:
    x = torch.tensor([[1.0, 0.05], [-1.0, -0.05]]).repeat(100, 1)
    y = (x[:, 0] > 0).long()
    plan = Training(200, (16,), 20, 0.01, "inf", 0.5, 5)
    model: nn.Module = training.new_network((2,), plan.hidden, 2, seeded(0))
    training.train_robust(model, x, y, plan, (-math.inf, math.inf), 0)
    assert accuracy(predict(model, x), y) == 1
    assert cells.robust_accuracy_of(model, x, y, plan, (-math.inf, math.inf)) == pytest.approx(1)
