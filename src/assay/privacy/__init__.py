"""Who can be told to be a member of the training set: attacks that query a model, calibrated by shadow models."""

from assay.privacy.base import MembershipAttack
from assay.privacy.canary import CanaryAttack, canary_objective
from assay.privacy.confidence import label_logits, logit_confidence
from assay.privacy.direct import DirectAttack
from assay.privacy.ensemble import ShadowEnsemble
from assay.privacy.lira import LiRA
from assay.privacy.metrics import MembershipReport, membership_metrics
from assay.privacy.trainers import StackedTrainer, one_by_one

__all__ = [
    "CanaryAttack",
    "DirectAttack",
    "LiRA",
    "MembershipAttack",
    "MembershipReport",
    "ShadowEnsemble",
    "StackedTrainer",
    "canary_objective",
    "label_logits",
    "logit_confidence",
    "membership_metrics",
    "one_by_one",
]
