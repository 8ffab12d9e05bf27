"""The rows of gradient coherence."""

from assay.core import cross_entropy
from assay.generalization import (
    M3,
    RM3,
    CoherenceTracker,
    gradient_coherence,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Optimizer


def _tracked(model, x, y, generator, batch_size=5):
    tracker = CoherenceTracker(x, y, loss=cross_entropy, every=1, batch_size=batch_size)
    return tracker.record(model, 0)


def _still(theta, gradient, lr):
    return theta  # three gradients make a step


ROWS = (
    Analysis(gradient_coherence),
    Analysis(CoherenceTracker, run=_tracked),
    Optimizer(RM3, _still),
    Optimizer(M3, _still),
)
