"""Gradient coherence, and descent that suppresses directions of few samples (Chatterjee and Zielinski, 2022).

Papers: gradient-coherence.
"""

from assay.generalization.coherence.batch_norms import coherence_from_batches
from assay.generalization.coherence.difficulty import LearningTimes, learning_times
from assay.generalization.coherence.measure import GradientCoherence, LayerCoherence, gradient_coherence
from assay.generalization.coherence.medians import M3, RM3
from assay.generalization.coherence.stability import stability_bound
from assay.generalization.coherence.tracking import CoherenceTracker
from assay.generalization.coherence.winsorized import WinsorizedSGD

__all__ = [
    "M3",
    "RM3",
    "CoherenceTracker",
    "GradientCoherence",
    "LayerCoherence",
    "LearningTimes",
    "WinsorizedSGD",
    "coherence_from_batches",
    "gradient_coherence",
    "learning_times",
    "stability_bound",
]
