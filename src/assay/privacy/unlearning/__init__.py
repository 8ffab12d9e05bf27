"""Unlearning of language models: logit differences, conventional losses and the metrics of TOFU.

Papers: unlearning-logit-difference.
"""

from assay.privacy.unlearning.assistant import build_assistant
from assay.privacy.unlearning.calibration import calibrate_alpha
from assay.privacy.unlearning.examples import QAExamples, answer_logits, answer_nll, token_logits
from assay.privacy.unlearning.logit_models import LogitDifferenceModel, OffsetModel, relative_top_mask, subtract_logits
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
    tofu_model_utility,
    truth_ratio,
    truth_ratio_score,
)
from assay.privacy.unlearning.training import UnlearningObjective, reversed_objective, unlearn

__all__ = [
    "ForgetQuality",
    "GradientAscentLoss",
    "LogitDifferenceModel",
    "NPOLoss",
    "OffsetModel",
    "QAExamples",
    "RefusalDPOLoss",
    "ReversedUnlearningLoss",
    "UnlearningObjective",
    "answer_logits",
    "answer_nll",
    "build_assistant",
    "calibrate_alpha",
    "forget_quality",
    "relative_top_mask",
    "retain_divergence",
    "reversed_objective",
    "subtract_logits",
    "tofu_model_utility",
    "token_logits",
    "truth_ratio",
    "truth_ratio_score",
    "unlearn",
]
