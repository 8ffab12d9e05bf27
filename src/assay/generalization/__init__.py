"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

Random interpolators, the functions that random weights favour. Accuracies of subpopulations over many models
(`subpopulations`). Papers: random-interpolators, accuracy-on-the-curve.
"""

from assay.generalization.interpolators import (
    QuantizedMLP,
    RandomInterpolatorClassifier,
    enumerate_functions,
    guess_and_check,
    sample_complexity_bound,
    teacher_complexity,
)
from assay.generalization.subpopulations import (
    MoonShape,
    accuracy_gap,
    accuracy_gap_theorem,
    modified_cifar4,
    moon_shape,
    spurious_counts,
    subgroup_accuracy,
    train_model_pool,
)

__all__ = [
    "MoonShape",
    "QuantizedMLP",
    "RandomInterpolatorClassifier",
    "accuracy_gap",
    "accuracy_gap_theorem",
    "enumerate_functions",
    "guess_and_check",
    "modified_cifar4",
    "moon_shape",
    "sample_complexity_bound",
    "spurious_counts",
    "subgroup_accuracy",
    "teacher_complexity",
    "train_model_pool",
]
