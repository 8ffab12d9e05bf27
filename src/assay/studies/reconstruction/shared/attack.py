"""Attack on trained networks: its objective, and what it recovered beside the nulls."""

from typing import Any

from assay.reconstruction import ReconstructionScore
from assay.reconstruction.kkt import Objective
from assay.studies.reconstruction.shared.victims import Victim

SHOWN = 10
"""Images kept per network."""


def objective_of(victim: Victim) -> Objective:
    """Return the objective for networks of this kind."""
    if victim.loss != "logistic":
        return "regression"
    return "binary" if victim.classes == 2 else "vector"


def recovered(score: ReconstructionScore) -> dict[str, Any]:
    """Return how many training images were recovered, what the nulls reach, and the images that came out best."""
    best = score.ncc.argsort(descending=True)[:SHOWN]
    return {
        "NCC > 0.75": score.n75,
        "NCC > 0.9": score.n90,
        "median NCC": score.ncc.median().item(),
        **score.nulls(),
        "training images": score.train_x[best] + score.mean,
        "recovered images": score.rescaled()[best],
        "NCC": score.ncc[best],
    }
