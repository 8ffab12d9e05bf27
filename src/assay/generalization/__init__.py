"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

- `double_descent`: test loss against width, and the part of optimisation in its peak (double-descent-optimization).
- `instability`: transformers that diverge at high learning rates, what foretells it and what prevents it
  (training-instability-proxies).
- `interpolators`: the functions that random weights favour (random-interpolators).
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
from assay.generalization.instability import (
    IndependentAdamW,
    StabilityMonitor,
    WarmupCosine,
    lr_sensitivity,
    lr_sweep,
    mup_param_groups,
    predict_instability,
    z_loss,
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
    "IndependentAdamW",
    "QuantizedMLP",
    "RandomFeatureModel",
    "RandomFeatures",
    "RandomInterpolatorClassifier",
    "StabilityMonitor",
    "TwoLayerModel",
    "WarmupCosine",
    "double_descent_curve",
    "enumerate_functions",
    "factor_study",
    "gradient_descent_path",
    "guess_and_check",
    "lr_sensitivity",
    "lr_sweep",
    "mup_param_groups",
    "predict_instability",
    "sample_complexity_bound",
    "teacher_complexity",
    "z_loss",
]
