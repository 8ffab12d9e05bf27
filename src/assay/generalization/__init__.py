"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

`interpolators`: the functions that random weights favour; `capacity`: the number of samples that training can fit.
Papers: random-interpolators, effective-model-complexity.
"""

from assay.generalization.capacity import effective_model_complexity, label_gap, minimum_check
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
    "effective_model_complexity",
    "enumerate_functions",
    "guess_and_check",
    "label_gap",
    "minimum_check",
    "sample_complexity_bound",
    "teacher_complexity",
]
