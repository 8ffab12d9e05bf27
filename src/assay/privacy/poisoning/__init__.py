"""Data poisoning: training samples that make a network misclassify chosen images.

Papers: guided-diffusion-poisoning. It builds on Witches' Brew, Sleeper Agent, Poison Frogs and Bullseye Polytope.
"""

from assay.privacy.poisoning.base import PoisonAttack, PoisonGoal, add_trigger
from assay.privacy.poisoning.evaluation import PoisonReport, evaluate_poison
from assay.privacy.poisoning.features import BullseyePolytope, FeatureCollision, penultimate_features
from assay.privacy.poisoning.guided_diffusion import GuidedDiffusionPoisoner, PoisonSet
from assay.privacy.poisoning.witches_brew import WitchesBrew, gradient_alignment_loss, poison_target_gradient

__all__ = [
    "BullseyePolytope",
    "FeatureCollision",
    "GuidedDiffusionPoisoner",
    "PoisonAttack",
    "PoisonGoal",
    "PoisonReport",
    "PoisonSet",
    "WitchesBrew",
    "add_trigger",
    "evaluate_poison",
    "gradient_alignment_loss",
    "penultimate_features",
    "poison_target_gradient",
]
