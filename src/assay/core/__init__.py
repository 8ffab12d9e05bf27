"""Parameters, derivatives, losses, training, statistics, seeds and input checks that all rooms share."""

from assay.core.batches import batch_sizes
from assay.core.broadcasting import per_sample
from assay.core.checks import (
    check_choice,
    check_count,
    check_finite,
    check_fraction,
    check_labels,
    check_pairs,
    check_positive,
    check_samples,
    signs,
)
from assay.core.cosine import cosine_distance
from assay.core.curvature import FisherOperator, GaussNewtonOperator, HessianOperator
from assay.core.derivatives import batched, gradient, plain_attention
from assay.core.devices import find_device
from assay.core.duplicates import find_copies
from assay.core.eigen import symmetric_eigenpairs, symmetric_eigenvalues
from assay.core.errors import (
    AssayError,
    InvalidInputError,
    MissingDataError,
    MissingExtraError,
    NumericalError,
    require_extra,
)
from assay.core.evaluation import accuracy, best_other, margins, mean_loss, predict
from assay.core.files import write_bytes
from assay.core.fitting import FitResult, Step, fit
from assay.core.flags import check_flags
from assay.core.gradients import (
    input_gradient,
    output_jacobian,
    parameter_gradients,
    per_sample_gradients,
)
from assay.core.inspection import inspect_model, require_inspected
from assay.core.kernels import kernel_distance
from assay.core.layers import find_layer, layer_names, layer_outputs, watch_layers
from assay.core.leaves import check_follows_parameters
from assay.core.look import (
    LogProbabilities,
    check_logits,
    check_model,
    check_outputs,
    check_scores,
    is_probabilities,
    stays_in_unit_interval,
)
from assay.core.losses import LossFunction, binary_cross_entropy, cross_entropy, single_logit, squared_error
from assay.core.memory import affordable_batch
from assay.core.moments import GradientMoments, gradient_moments, per_sample_gradient_norms
from assay.core.objective import MeanLoss, loss_kind, mean_over_samples
from assay.core.operators import DenseOperator, MatrixFree
from assay.core.parameters import (
    Parameters,
    assign_parameters,
    copy_network,
    flatten,
    functional,
    named_parameters,
    parameter_distance,
    preserved,
    project_parameters,
    select_parameters,
    unflatten,
    unwrapped,
    unwrapped_state,
)
from assay.core.power_law import PowerLawFit, fit_power_law
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
from assay.core.sweeps import sweep
from assay.core.trainers import SequentialTrainer, StackedTrainer, Trainer
from assay.core.tridiagonalization import Tridiagonalization, lanczos, sign_probes

__all__ = [
    "ROC",
    "AssayError",
    "DenseOperator",
    "FisherOperator",
    "FitResult",
    "GaussNewtonOperator",
    "GradientMoments",
    "HessianOperator",
    "Interval",
    "InvalidInputError",
    "LogProbabilities",
    "LossFunction",
    "MatrixFree",
    "MeanLoss",
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
    "Tridiagonalization",
    "accuracy",
    "affordable_batch",
    "as_generator",
    "assign_parameters",
    "auc_interval",
    "batch_sizes",
    "batched",
    "best_other",
    "binary_cross_entropy",
    "check_choice",
    "check_count",
    "check_finite",
    "check_flags",
    "check_follows_parameters",
    "check_fraction",
    "check_labels",
    "check_logits",
    "check_model",
    "check_outputs",
    "check_pairs",
    "check_positive",
    "check_samples",
    "check_scores",
    "copy_network",
    "cosine_distance",
    "cross_entropy",
    "find_copies",
    "find_device",
    "find_layer",
    "fit",
    "fit_power_law",
    "flatten",
    "functional",
    "gradient",
    "gradient_moments",
    "hessian_vector_product",
    "input_gradient",
    "inspect_model",
    "is_probabilities",
    "isolated_rng",
    "jacobian_vector_product",
    "kernel_distance",
    "lanczos",
    "layer_names",
    "layer_outputs",
    "loss_kind",
    "margins",
    "mean_interval",
    "mean_loss",
    "mean_over_samples",
    "named_parameters",
    "order_statistic_index",
    "output_jacobian",
    "parameter_distance",
    "parameter_gradients",
    "per_sample",
    "per_sample_gradient_norms",
    "per_sample_gradients",
    "plain_attention",
    "predict",
    "preserved",
    "project_parameters",
    "proportion_interval",
    "require_extra",
    "require_inspected",
    "roc",
    "seeded",
    "select_parameters",
    "sign_probes",
    "signs",
    "single_logit",
    "spawn_seeds",
    "squared_error",
    "stays_in_unit_interval",
    "sweep",
    "symmetric_eigenpairs",
    "symmetric_eigenvalues",
    "tpr_at_fpr",
    "track",
    "unflatten",
    "unwrapped",
    "unwrapped_state",
    "vector_jacobian_product",
    "watch_layers",
    "write_bytes",
]
