"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

Random interpolators, the functions that random weights favour. Papers: random-interpolators.

`instability`: transformers that diverge at high learning rates, what foretells it and what prevents it. Papers:
training-instability-proxies.
"""

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
    "IndependentAdamW",
    "QuantizedMLP",
    "RandomInterpolatorClassifier",
    "StabilityMonitor",
    "WarmupCosine",
    "enumerate_functions",
    "guess_and_check",
    "lr_sensitivity",
    "lr_sweep",
    "mup_param_groups",
    "predict_instability",
    "sample_complexity_bound",
    "teacher_complexity",
    "z_loss",
]
