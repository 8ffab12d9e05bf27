"""Privacy and security of training data and networks.

- `membership`: membership inference with shadow models (canary-membership).
- `watermark`: certified watermarks, and attacks that try to remove them (certified-watermark).
- `poisoning`: data poisoning with real or synthesised base images (guided-diffusion-poisoning).
- `unlearning`: unlearning for language models (unlearning-logit-difference).
- `condensation`: dataset condensation and continual learning on condensed sets (dataset-condensation-contrastive).
"""

from assay.privacy.condensation import CondensedReplay, DatasetCondenser, evaluate_condensed
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
from assay.privacy.watermark import SmoothedWatermark, TriggerSet, WatermarkCertificate, certify_watermark

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
