"""Data poisoning: training samples that make a network misclassify one target.

Papers: guided-diffusion-poisoning.
"""

from assay.privacy.poisoning.base import (
    PoisonAttack,
    PoisonGoal,
    add_trigger,
)
from assay.privacy.poisoning.evaluation import (
    PoisonReport,
    evaluate_poison,
)
from assay.privacy.poisoning.features import (
    BullseyePolytope,
    FeatureCollision,
    penultimate_features,
)
from assay.privacy.poisoning.gradient_matching import (
    GradientMatchingAttack,
    gradient_matching_loss,
    poison_gradients,
    poison_target_gradient,
)
from assay.privacy.poisoning.guided_diffusion import (
    GuidedDiffusionPoisoner,
    PoisonSet,
)

__all__ = [
    "BullseyePolytope",
    "FeatureCollision",
    "GradientMatchingAttack",
    "GuidedDiffusionPoisoner",
    "PoisonAttack",
    "PoisonGoal",
    "PoisonReport",
    "PoisonSet",
    "add_trigger",
    "evaluate_poison",
    "gradient_matching_loss",
    "penultimate_features",
    "poison_gradients",
    "poison_target_gradient",
]
