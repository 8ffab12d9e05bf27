"""Why networks that fit their training set do well on new data: prior over functions, width and optimisation.

- `capacity`: the number of samples that training can fit (effective-model-complexity).
- `coherence`: agreement of the gradients of different samples (gradient-coherence).
- `double_descent`: test loss against width, and the part of optimisation in its peak (double-descent-optimization).
- `instability`: transformers that diverge at high learning rates, what foretells it and what prevents it
  (training-instability-proxies).
- `interpolators`: the functions that random weights favour (random-interpolators).
- `subpopulations`: accuracies of subpopulations over many models (accuracy-on-the-curve).
"""

from assay.generalization.capacity import effective_model_complexity, label_gap, minimum_check
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
    "M3",
    "RM3",
    "CoherenceTracker",
    "DoubleDescentCurve",
    "FactorStudy",
    "GradientCoherence",
    "IndependentAdamW",
    "MoonShape",
    "QuantizedMLP",
    "RandomFeatureModel",
    "RandomFeatures",
    "RandomInterpolatorClassifier",
    "StabilityMonitor",
    "TwoLayerModel",
    "WarmupCosine",
    "WinsorizedSGD",
    "accuracy_gap",
    "accuracy_gap_theorem",
    "coherence_from_batches",
    "double_descent_curve",
    "effective_model_complexity",
    "enumerate_functions",
    "factor_study",
    "gradient_coherence",
    "gradient_descent_path",
    "guess_and_check",
    "label_gap",
    "learning_times",
    "lr_sensitivity",
    "lr_sweep",
    "minimum_check",
    "modified_cifar4",
    "moon_shape",
    "mup_param_groups",
    "predict_instability",
    "sample_complexity_bound",
    "spurious_counts",
    "stability_bound",
    "subgroup_accuracy",
    "teacher_complexity",
    "train_model_pool",
    "z_loss",
]
