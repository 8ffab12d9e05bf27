"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

Random interpolators, the functions that random weights favour. Papers: random-interpolators.
"""

from assay.generalization.interpolators import (
    QuantizedMLP,
    RandomInterpolatorClassifier,
    enumerate_functions,
    guess_and_check,
    sample_complexity_bound,
    teacher_complexity,
)

__all__ = [
    "QuantizedMLP",
    "RandomInterpolatorClassifier",
    "enumerate_functions",
    "guess_and_check",
    "sample_complexity_bound",
    "teacher_complexity",
]
