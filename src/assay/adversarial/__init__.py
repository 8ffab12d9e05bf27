"""Attacks that look for the smallest change which breaks a classifier, and diagnostics of why they succeed."""

from assay.adversarial.apgd import APGD, TargetedAPGD, apgd, targeted_apgd
from assay.adversarial.architecture_search import Child, SearchResult, search_architectures
from assay.adversarial.base import Attack, AttackResult, Lp, run_attack
from assay.adversarial.counting import PassCounter
from assay.adversarial.entropy import EntropyRegularizedLoss
from assay.adversarial.error_curve import ErrorCurve, adversarial_error_curve
from assay.adversarial.fgsm import FGSM, fgsm
from assay.adversarial.linear_response import linear_response_error, linear_response_radius
from assay.adversarial.linearity import LinearityCurve, almost_linearity, expected_gradient_change
from assay.adversarial.logit_gaps import gap_exponent, logit_differences
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
from assay.adversarial.power_law import PowerLawFit
from assay.adversarial.robustness import AttackTally, RobustnessReport, robust_accuracy, standard_attacks
from assay.adversarial.step_least_likely import StepLeastLikely, step_least_likely
from assay.adversarial.targeted_step import TargetedStep
from assay.adversarial.targeting import GradientMaskingWarning, malt_scores, malt_targets, naive_targets

__all__ = [
    "APGD",
    "FGSM",
    "MALT",
    "PGD",
    "Attack",
    "AttackResult",
    "AttackTally",
    "Child",
    "EntropyRegularizedLoss",
    "ErrorCurve",
    "GradientLaw",
    "GradientMaskingWarning",
    "LinearityCurve",
    "Lp",
    "MALTResult",
    "OffSubspaceAttack",
    "OffSubspaceGradient",
    "PassCounter",
    "PowerLawFit",
    "RobustnessReport",
    "SearchResult",
    "StepLeastLikely",
    "SubspaceBasis",
    "TargetedAPGD",
    "TargetedStep",
    "adversarial_error_curve",
    "almost_linearity",
    "apgd",
    "expected_gradient_change",
    "expected_off_gradient",
    "fgsm",
    "gap_exponent",
    "linear_response_error",
    "linear_response_radius",
    "logit_differences",
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
    "search_architectures",
    "standard_attacks",
    "step_least_likely",
    "targeted_apgd",
    "universal_off_subspace_direction",
]
