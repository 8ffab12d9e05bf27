"""Attacks that look for the smallest change which breaks a classifier, and diagnostics of why they succeed."""

from assay.adversarial.apgd import APGD, TargetedAPGD, apgd, targeted_apgd
from assay.adversarial.base import Attack, AttackResult, Lp, run_attack
from assay.adversarial.counting import PassCounter
from assay.adversarial.fgsm import FGSM, fgsm
from assay.adversarial.linearity import LinearityCurve, almost_linearity, expected_gradient_change
from assay.adversarial.malt import MALT, MALTResult
from assay.adversarial.pgd import PGD, pgd
from assay.adversarial.robustness import AttackTally, RobustnessReport, robust_accuracy, standard_attacks
from assay.adversarial.targeting import GradientMaskingWarning, malt_scores, malt_targets, naive_targets

__all__ = [
    "APGD",
    "FGSM",
    "MALT",
    "PGD",
    "Attack",
    "AttackResult",
    "AttackTally",
    "GradientMaskingWarning",
    "LinearityCurve",
    "Lp",
    "MALTResult",
    "PassCounter",
    "RobustnessReport",
    "TargetedAPGD",
    "almost_linearity",
    "apgd",
    "expected_gradient_change",
    "fgsm",
    "malt_scores",
    "malt_targets",
    "naive_targets",
    "pgd",
    "robust_accuracy",
    "run_attack",
    "standard_attacks",
    "targeted_apgd",
]
