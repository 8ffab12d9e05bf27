"""Attacks that look for the smallest change which breaks a classifier, and diagnostics of why they succeed."""

from assay.adversarial.apgd import APGD, TargetedAPGD, apgd, targeted_apgd
from assay.adversarial.base import Attack, AttackResult, Lp, run_attack
from assay.adversarial.counting import PassCounter
from assay.adversarial.fgsm import FGSM, fgsm
from assay.adversarial.linearity import LinearityCurve, almost_linearity, expected_gradient_change
from assay.adversarial.malt import MALT, MALTResult
from assay.adversarial.off_subspace import (
    GradientLaw,
    OffSubspaceGradient,
    SubspaceBasis,
    expected_off_gradient,
    off_subspace_gradient,
    orthogonal_complement,
)
from assay.adversarial.off_subspace_attack import (
    OffSubspaceAttack,
    off_subspace_attack,
    off_subspace_radius,
    universal_off_subspace_direction,
)
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
    "GradientLaw",
    "GradientMaskingWarning",
    "LinearityCurve",
    "Lp",
    "MALTResult",
    "OffSubspaceAttack",
    "OffSubspaceGradient",
    "PassCounter",
    "RobustnessReport",
    "SubspaceBasis",
    "TargetedAPGD",
    "almost_linearity",
    "apgd",
    "expected_gradient_change",
    "expected_off_gradient",
    "fgsm",
    "malt_scores",
    "malt_targets",
    "naive_targets",
    "off_subspace_attack",
    "off_subspace_gradient",
    "off_subspace_radius",
    "orthogonal_complement",
    "pgd",
    "robust_accuracy",
    "run_attack",
    "standard_attacks",
    "targeted_apgd",
    "universal_off_subspace_direction",
]
