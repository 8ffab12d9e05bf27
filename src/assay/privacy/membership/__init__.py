"""Membership inference: whether a sample was in the training set.

Papers: canary-membership. Its baseline is LiRA (Carlini et al., 2022).
"""

from assay.privacy.membership.base import MembershipAttack, QueryTask
from assay.privacy.membership.canary import CanaryAttack
from assay.privacy.membership.confidence import label_logits, logit_confidence
from assay.privacy.membership.direct import DirectAttack
from assay.privacy.membership.lira import LiRA
from assay.privacy.membership.metrics import MembershipReport, membership_metrics
from assay.privacy.membership.objectives import CanaryObjective, canary_objective
from assay.privacy.membership.shadows import ShadowEnsemble

__all__ = [
    "CanaryAttack",
    "CanaryObjective",
    "DirectAttack",
    "LiRA",
    "MembershipAttack",
    "MembershipReport",
    "QueryTask",
    "ShadowEnsemble",
    "canary_objective",
    "label_logits",
    "logit_confidence",
    "membership_metrics",
]
