"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

Random interpolators, the functions that random weights favour; coherence of the samples' gradients. Papers:
random-interpolators, gradient-coherence.
"""

from assay.generalization.coherence import (
    M3,
    RM3,
    CoherenceTracker,
    GradientCoherence,
    WinsorizedSGD,
    coherence_from_batches,
    gradient_coherence,
    learning_times,
    stability_bound,
)
from assay.generalization.interpolators import (
    QuantizedMLP,
    RandomInterpolatorClassifier,
    enumerate_functions,
    guess_and_check,
    sample_complexity_bound,
    teacher_complexity,
)

__all__ = [
    "M3",
    "RM3",
    "CoherenceTracker",
    "GradientCoherence",
    "QuantizedMLP",
    "RandomInterpolatorClassifier",
    "WinsorizedSGD",
    "coherence_from_batches",
    "enumerate_functions",
    "gradient_coherence",
    "guess_and_check",
    "learning_times",
    "sample_complexity_bound",
    "stability_bound",
    "teacher_complexity",
]
