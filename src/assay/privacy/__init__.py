"""Who is in a training set, whose a network is, and how one is poisoned or made to forget.

Shadow models, watermarks, poisons from scratch, the unlearning of language models, and condensed training sets.
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
from assay.privacy.denoisers import Denoiser, GaussianMixtureDenoiser, UNetDenoiser, linear_noise_schedule
from assay.privacy.direct import DirectAttack
from assay.privacy.documents import Documents, answer_nll, token_logits
from assay.privacy.ensemble import ShadowEnsemble
from assay.privacy.feature_poisons import BullseyePolytope, FeatureCollision, penultimate_features
from assay.privacy.gradient_matching import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    gradient_distance,
)
from assay.privacy.guided_ddim import GuidedDDIMSampler
from assay.privacy.guided_poisons import GuidedDiffusionPoisoner, PoisonSet
from assay.privacy.kernel_velocity import kernel_distance, kernel_velocity
from assay.privacy.lira import LiRA
from assay.privacy.logit_difference import LogitDifferenceModel, OffsetModel, logit_difference, relative_top_mask
from assay.privacy.metrics import MembershipReport, membership_metrics
from assay.privacy.poison_attack import PoisonAttack, PoisonGoal, add_trigger
from assay.privacy.poison_evaluation import PoisonReport, evaluate_poison
from assay.privacy.poison_matching import (
    GradientMatchingAttack,
    gradient_matching_loss,
    poison_gradients,
    poison_target_gradient,
)
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
    "BullseyePolytope",
    "CanaryAttack",
    "ClassWiseGradientMatching",
    "CondensedAccuracy",
    "CondensedReplay",
    "ContrastiveGradientMatching",
    "DatasetCondenser",
    "Denoiser",
    "DirectAttack",
    "Documents",
    "FeatureCollision",
    "ForgetQuality",
    "GaussianMixtureDenoiser",
    "GradientAscentLoss",
    "GradientMatchingAttack",
    "GuidedDDIMSampler",
    "GuidedDiffusionPoisoner",
    "LiRA",
    "LogitDifferenceModel",
    "MembershipAttack",
    "MembershipReport",
    "NPOLoss",
    "OffsetModel",
    "PoisonAttack",
    "PoisonGoal",
    "PoisonReport",
    "PoisonSet",
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
    "UNetDenoiser",
    "WatermarkCertificate",
    "add_trigger",
    "answer_nll",
    "build_assistant",
    "calibrate_alpha",
    "canary_objective",
    "certify_watermark",
    "evaluate_condensed",
    "evaluate_poison",
    "forget_quality",
    "gradient_distance",
    "gradient_matching_loss",
    "kernel_distance",
    "kernel_velocity",
    "label_logits",
    "linear_noise_schedule",
    "logit_confidence",
    "logit_difference",
    "membership_metrics",
    "model_utility",
    "one_by_one",
    "order_statistic_index",
    "parameter_distance",
    "penultimate_features",
    "percentile_bounds",
    "poison_gradients",
    "poison_target_gradient",
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
