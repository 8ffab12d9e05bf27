"""Who is in a training set, whose a network is, and how one is poisoned or made to forget.

Shadow models, watermarks, poisons from scratch, the unlearning of language models, and condensed training sets.
"""

from assay.privacy.condensation import (
    CondensedReplay,
    DatasetCondenser,
    evaluate_condensed,
)
from assay.privacy.membership import (
    CanaryAttack,
    DirectAttack,
    LiRA,
    MembershipAttack,
    MembershipReport,
    ShadowEnsemble,
    membership_metrics,
)
from assay.privacy.poisoning import (
    BullseyePolytope,
    FeatureCollision,
    GuidedDiffusionPoisoner,
    PoisonGoal,
    WitchesBrew,
    evaluate_poison,
)
from assay.privacy.unlearning import (
    LogitDifferenceModel,
    OffsetModel,
    build_assistant,
    calibrate_alpha,
    forget_quality,
    unlearn,
)
from assay.privacy.watermark import (
    SmoothedWatermark,
    TriggerSet,
    WatermarkCertificate,
    certify_watermark,
)

__all__ = [
    "BullseyePolytope",
    "CanaryAttack",
    "CondensedReplay",
    "DatasetCondenser",
    "DirectAttack",
    "FeatureCollision",
    "GuidedDiffusionPoisoner",
    "LiRA",
    "LogitDifferenceModel",
    "MembershipAttack",
    "MembershipReport",
    "OffsetModel",
    "PoisonGoal",
    "ShadowEnsemble",
    "SmoothedWatermark",
    "TriggerSet",
    "WatermarkCertificate",
    "WitchesBrew",
    "build_assistant",
    "calibrate_alpha",
    "certify_watermark",
    "evaluate_condensed",
    "evaluate_poison",
    "forget_quality",
    "membership_metrics",
    "unlearn",
]
