"""Every attack by its name, and a network for all of them."""

import math

import pytest
import torch

from assay.adversarial import (
    APGD,
    FGSM,
    FMN,
    MALT,
    PGD,
    DeepFool,
    Lp,
    Square,
    StepLeastLikely,
    TargetedAPGD,
    TargetedStep,
)
from assay.core import predict, seeded
from helpers.adversarial_networks import points, random_mlp

THREAT = Lp(math.inf, 0.2, (-9.0, 9.0))
TARGETED = {
    "TargetedAPGD": lambda threat: TargetedAPGD(threat, n_iter=5, loss="ce"),
    "TargetedStep": TargetedStep,
}
UNTARGETED = {
    "FGSM": FGSM,
    "PGD": lambda threat: PGD(threat, n_iter=5),
    "APGD": lambda threat: APGD(threat, n_iter=5),
    "StepLeastLikely": StepLeastLikely,
    "MALT": lambda threat: MALT(TargetedAPGD(threat, n_iter=5, loss="ce"), k=2),
    "Square": lambda threat: Square(threat, n_queries=5),
    "DeepFool": lambda threat: DeepFool(threat, n_iter=5),
    "FMN": lambda threat: FMN(threat, n_iter=20),
}
ATTACKS = UNTARGETED | TARGETED
each_attack = pytest.mark.parametrize("build", ATTACKS.values(), ids=ATTACKS)


def problem(dtype=torch.float64):
    source = seeded(5)
    model, x = random_mlp([6, 20, 4], source).to(dtype).eval(), points(8, 6, source).to(dtype)
    return model, x, predict(model, x).argmax(1)
