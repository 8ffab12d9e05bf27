"""Who can be told to be a member of the training set, whose a network is, and how one is made to forget.

Shadow models, watermarks, the unlearning of language models, and condensed sets to train on instead.
"""

from assay.privacy.alpha import calibrate_alpha
from assay.privacy.assistant import build_assistant
from assay.privacy.base import MembershipAttack
from assay.privacy.canary import CanaryAttack, canary_objective
from assay.privacy.certificate import (
    WatermarkCertificate,
    certify_watermark,
    order_statistic_index,
    percentile_bounds,
)
from assay.privacy.compression import Pruning, Quantisation
from assay.privacy.condensed_accuracy import CondensedAccuracy, evaluate_condensed
from assay.privacy.condensed_replay import CondensedReplay
from assay.privacy.condenser import DatasetCondenser
from assay.privacy.confidence import label_logits, logit_confidence
from assay.privacy.direct import DirectAttack
from assay.privacy.documents import Documents, answer_nll, token_logits
from assay.privacy.ensemble import ShadowEnsemble
from assay.privacy.gradient_matching import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    gradient_distance,
)
from assay.privacy.kernel_velocity import kernel_distance, kernel_velocity
from assay.privacy.lira import LiRA
from assay.privacy.logit_difference import LogitDifferenceModel, OffsetModel, logit_difference, relative_top_mask
from assay.privacy.metrics import MembershipReport, membership_metrics
from assay.privacy.removal import RemovalAttack, RemovalReport, RemovalStage, parameter_distance
from assay.privacy.retraining import Retraining
from assay.privacy.shifts import RandomShift, TriggerAscent
from assay.privacy.siamese_augmentation import SiameseAugmentation
from assay.privacy.smoothing import smoothed_trigger_accuracy, smoothed_trigger_gradient
from assay.privacy.trainers import StackedTrainer, one_by_one
from assay.privacy.triggers import TriggerSet
from assay.privacy.unlearn import reversed_objective, unlearn
from assay.privacy.unlearning_losses import (
    GradientAscentLoss,
    NPOLoss,
    RefusalDPOLoss,
    ReversedUnlearningLoss,
    retain_divergence,
)
from assay.privacy.unlearning_metrics import (
    ForgetQuality,
    forget_quality,
    model_utility,
    truth_ratio,
    truth_ratio_score,
)
from assay.privacy.watermark import SmoothedWatermark

__all__ = [
    "CanaryAttack",
    "ClassWiseGradientMatching",
    "CondensedAccuracy",
    "CondensedReplay",
    "ContrastiveGradientMatching",
    "DatasetCondenser",
    "DirectAttack",
    "Documents",
    "ForgetQuality",
    "GradientAscentLoss",
    "LiRA",
    "LogitDifferenceModel",
    "MembershipAttack",
    "MembershipReport",
    "NPOLoss",
    "OffsetModel",
    "Pruning",
    "Quantisation",
    "RandomShift",
    "RefusalDPOLoss",
    "RemovalAttack",
    "RemovalReport",
    "RemovalStage",
    "Retraining",
    "ReversedUnlearningLoss",
    "ShadowEnsemble",
    "SiameseAugmentation",
    "SmoothedWatermark",
    "StackedTrainer",
    "TriggerAscent",
    "TriggerSet",
    "WatermarkCertificate",
    "answer_nll",
    "build_assistant",
    "calibrate_alpha",
    "canary_objective",
    "certify_watermark",
    "evaluate_condensed",
    "forget_quality",
    "gradient_distance",
    "kernel_distance",
    "kernel_velocity",
    "label_logits",
    "logit_confidence",
    "logit_difference",
    "membership_metrics",
    "model_utility",
    "one_by_one",
    "order_statistic_index",
    "parameter_distance",
    "percentile_bounds",
    "relative_top_mask",
    "retain_divergence",
    "reversed_objective",
    "smoothed_trigger_accuracy",
    "smoothed_trigger_gradient",
    "token_logits",
    "truth_ratio",
    "truth_ratio_score",
    "unlearn",
]
