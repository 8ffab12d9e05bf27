"""Parameters, derivatives, losses, training, statistics, seeds and input checks that all rooms share."""

from assay.core.checks import (
    check_choice,
    check_count,
    check_finite,
    check_fraction,
    check_labels,
    check_pairs,
    check_positive,
    check_samples,
)
from assay.core.devices import find_device
from assay.core.errors import (
    AssayError,
    InvalidInputError,
    MissingDataError,
    MissingExtraError,
    NumericalError,
    require_extra,
)
from assay.core.evaluation import accuracy, best_other, margins, mean_loss, predict
from assay.core.fitting import FitResult, Step, fit
from assay.core.gradients import (
    input_gradient,
    output_jacobian,
    parameter_gradients,
    per_sample_gradient_norms,
    per_sample_gradients,
)
from assay.core.inspection import inspect_model, require_inspected
from assay.core.kernels import kernel_distance
from assay.core.look import (
    LogProbabilities,
    check_logits,
    check_model,
    check_outputs,
    check_scores,
    is_probabilities,
)
from assay.core.losses import LossFunction, binary_cross_entropy, cross_entropy, signs, single_logit, squared_error
from assay.core.operators import DenseOperator, GaussNewtonOperator, HessianOperator, MatrixFree
from assay.core.parameters import (
    Parameters,
    assign_parameters,
    flatten,
    functional,
    named_parameters,
    parameter_distance,
    preserved,
    project_parameters,
    unflatten,
)
from assay.core.power_law import PowerLawFit, fit_power_law, log_log_line
from assay.core.problems import Problem
from assay.core.products import hessian_vector_product, jacobian_vector_product, vector_jacobian_product
from assay.core.progress import track
from assay.core.seeding import as_generator, isolated_rng, seeded, spawn_seeds
from assay.core.statistics import (
    ROC,
    Interval,
    auc_interval,
    mean_interval,
    order_statistic_index,
    proportion_interval,
    roc,
    tpr_at_fpr,
)
from assay.core.trainers import SequentialTrainer, StackedTrainer, Trainer

__all__ = [
    "ROC",
    "AssayError",
    "DenseOperator",
    "FitResult",
    "GaussNewtonOperator",
    "HessianOperator",
    "Interval",
    "InvalidInputError",
    "LogProbabilities",
    "LossFunction",
    "MatrixFree",
    "MissingDataError",
    "MissingExtraError",
    "NumericalError",
    "Parameters",
    "PowerLawFit",
    "Problem",
    "SequentialTrainer",
    "StackedTrainer",
    "Step",
    "Trainer",
    "accuracy",
    "as_generator",
    "assign_parameters",
    "auc_interval",
    "best_other",
    "binary_cross_entropy",
    "check_choice",
    "check_count",
    "check_finite",
    "check_fraction",
    "check_labels",
    "check_logits",
    "check_model",
    "check_outputs",
    "check_pairs",
    "check_positive",
    "check_samples",
    "check_scores",
    "cross_entropy",
    "find_device",
    "fit",
    "fit_power_law",
    "flatten",
    "functional",
    "hessian_vector_product",
    "input_gradient",
    "inspect_model",
    "is_probabilities",
    "isolated_rng",
    "jacobian_vector_product",
    "kernel_distance",
    "log_log_line",
    "margins",
    "mean_interval",
    "mean_loss",
    "named_parameters",
    "order_statistic_index",
    "output_jacobian",
    "parameter_distance",
    "parameter_gradients",
    "per_sample_gradient_norms",
    "per_sample_gradients",
    "predict",
    "preserved",
    "project_parameters",
    "proportion_interval",
    "require_extra",
    "require_inspected",
    "roc",
    "seeded",
    "signs",
    "single_logit",
    "spawn_seeds",
    "squared_error",
    "tpr_at_fpr",
    "track",
    "unflatten",
    "vector_jacobian_product",
]
