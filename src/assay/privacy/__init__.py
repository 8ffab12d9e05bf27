"""Who can be told to be a member of the training set, and whose a network is: shadow models, and watermarks."""

from assay.privacy.base import MembershipAttack
from assay.privacy.canary import CanaryAttack, canary_objective
from assay.privacy.certificate import (
    WatermarkCertificate,
    certify_watermark,
    order_statistic_index,
    percentile_bounds,
)
from assay.privacy.compression import Pruning, Quantisation
from assay.privacy.confidence import label_logits, logit_confidence
from assay.privacy.direct import DirectAttack
from assay.privacy.ensemble import ShadowEnsemble
from assay.privacy.lira import LiRA
from assay.privacy.metrics import MembershipReport, membership_metrics
from assay.privacy.removal import RemovalAttack, RemovalReport, RemovalStage, parameter_distance
from assay.privacy.retraining import Retraining
from assay.privacy.shifts import RandomShift, TriggerAscent
from assay.privacy.smoothing import smoothed_trigger_accuracy, smoothed_trigger_gradient
from assay.privacy.trainers import StackedTrainer, one_by_one
from assay.privacy.triggers import TriggerSet
from assay.privacy.watermark import SmoothedWatermark

__all__ = [
    "CanaryAttack",
    "DirectAttack",
    "LiRA",
    "MembershipAttack",
    "MembershipReport",
    "Pruning",
    "Quantisation",
    "RandomShift",
    "RemovalAttack",
    "RemovalReport",
    "RemovalStage",
    "Retraining",
    "ShadowEnsemble",
    "SmoothedWatermark",
    "StackedTrainer",
    "TriggerAscent",
    "TriggerSet",
    "WatermarkCertificate",
    "canary_objective",
    "certify_watermark",
    "label_logits",
    "logit_confidence",
    "membership_metrics",
    "one_by_one",
    "order_statistic_index",
    "parameter_distance",
    "percentile_bounds",
    "smoothed_trigger_accuracy",
    "smoothed_trigger_gradient",
]
