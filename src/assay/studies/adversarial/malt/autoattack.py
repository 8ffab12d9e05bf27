"""MALT beside the gradient attacks of AutoAttack, as the torchattacks package has them, on the same samples."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from assay.adversarial import MALT
from assay.adversarial.attacks import PassCounter
from assay.core import isolated_rng, predict, preserved
from assay.studies.adversarial.malt.cells import load_network, targeted_attack
from assay.studies.adversarial.malt.settings import Settings

SEQUENCE = "APGD-CE, 9 x APGD-T and 9 x FAB-T (torchattacks, as many iterations each)"
MISSING = "torchattacks is not installed here: pip install --no-deps torchattacks"
INSTALLED = importlib.util.find_spec("torchattacks") is not None


def compare_with_autoattack(settings: Settings, seed: int, weights: dict[str, Tensor]) -> dict[str, float]:
    """Attack the first samples; return MALT's time, passes and success against the sequence's."""
    torchattacks: Any = importlib.import_module("torchattacks")
    model, x, y = load_network(settings, seed, weights, settings.subset)
    attack = targeted_attack(settings)
    options = {"norm": "Linf", "eps": settings.eps, "steps": settings.n_iter, "n_restarts": 1, "seed": seed}
    targets = {"n_classes": 10}  # their name for one more than the number of targets
    sequence = [
        (torchattacks.APGD, {"loss": "ce"}),
        (torchattacks.APGDT, targets),
        (torchattacks.FAB, {"multi_targeted": True, **targets}),
    ]

    def in_sequence(model: nn.Module) -> Tensor:
        standing = (predict(model, x).argmax(1) == y).nonzero().squeeze(1)
        for kind, more in sequence:
            if not len(standing):
                break
            proposed = kind(model, **options, **more)(x[standing], y[standing]).detach()
            x_adv = attack.threat.project(proposed, x[standing])
            standing = standing[predict(model, x_adv).argmax(1) == y[standing]]
        return standing

    ours, our_seconds, our_passes = priced(model, lambda model: (~MALT(attack).run(model, x, y).success).nonzero())
    with isolated_rng(seed):
        theirs, their_seconds, their_passes = priced(model, in_sequence)
    return {
        "seconds": our_seconds / their_seconds,
        "passes": our_passes / their_passes,
        "success": (len(theirs) - len(ours)) / len(x),
        "missed": np.setdiff1d(ours, theirs).size / len(x),
    }


def priced(model: nn.Module, attack: Callable[[nn.Module], Tensor]) -> tuple[Tensor, float, int]:
    """Return the samples left standing, the CPU seconds, and the forward and backward passes."""
    with preserved(model):
        start = time.process_time()
        standing = attack(model)
        seconds = time.process_time() - start
        counted = PassCounter(model).eval()
        attack(counted)  # once more: counting costs time of its own
    return standing, seconds, counted.n_forward + counted.n_backward
