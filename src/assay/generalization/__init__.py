"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

Random interpolators, the functions that random weights favour. Papers: random-interpolators.

- `double_descent`: test loss against width, and the part of optimisation in its peak (double-descent-optimization).
"""

from assay.generalization.double_descent import (
    DoubleDescentCurve,
    FactorStudy,
    RandomFeatureModel,
    RandomFeatures,
    TwoLayerModel,
    double_descent_curve,
    factor_study,
    gradient_descent_path,
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
    "DoubleDescentCurve",
    "FactorStudy",
    "QuantizedMLP",
    "RandomFeatureModel",
    "RandomFeatures",
    "RandomInterpolatorClassifier",
    "TwoLayerModel",
    "double_descent_curve",
    "enumerate_functions",
    "factor_study",
    "gradient_descent_path",
    "guess_and_check",
    "sample_complexity_bound",
    "teacher_complexity",
]
