"""Unlearning for language models: removing documents after training.

Papers: unlearning-logit-difference.
"""

from assay.privacy.unlearning.assistant import (
    build_assistant,
)
from assay.privacy.unlearning.calibration import (
    calibrate_alpha,
)
from assay.privacy.unlearning.documents import (
    Documents,
    answer_nll,
    asked_logits,
    token_logits,
)
from assay.privacy.unlearning.logit_models import (
    LogitDifferenceModel,
    OffsetModel,
    logit_difference,
    relative_top_mask,
)
from assay.privacy.unlearning.losses import (
    GradientAscentLoss,
    NPOLoss,
    RefusalDPOLoss,
    ReversedUnlearningLoss,
    retain_divergence,
)
from assay.privacy.unlearning.metrics import (
    ForgetQuality,
    forget_quality,
    model_utility,
    truth_ratio,
    truth_ratio_score,
)
from assay.privacy.unlearning.training import (
    Objective,
    reversed_objective,
    unlearn,
)

__all__ = [
    "Documents",
    "ForgetQuality",
    "GradientAscentLoss",
    "LogitDifferenceModel",
    "NPOLoss",
    "Objective",
    "OffsetModel",
    "RefusalDPOLoss",
    "ReversedUnlearningLoss",
    "answer_nll",
    "asked_logits",
    "build_assistant",
    "calibrate_alpha",
    "forget_quality",
    "logit_difference",
    "model_utility",
    "relative_top_mask",
    "retain_divergence",
    "reversed_objective",
    "token_logits",
    "truth_ratio",
    "truth_ratio_score",
    "unlearn",
]
