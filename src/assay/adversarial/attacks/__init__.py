"""Attacks on classifiers within norm balls, certificates, and robust accuracy.

Papers: malt.
"""

from assay.adversarial.attacks.apgd import APGD, TargetedAPGD
from assay.adversarial.attacks.base import (
    Attack,
    AttackResult,
    attack_batches,
    check_attack,
    run_attack,
)
from assay.adversarial.attacks.counting import PassCounter
from assay.adversarial.attacks.door import attackable, check_attackable
from assay.adversarial.attacks.expectation import ExpectedScores
from assay.adversarial.attacks.fgsm import FGSM
from assay.adversarial.attacks.interval_propagation import Certificate, interval_bounds, interval_certificate
from assay.adversarial.attacks.linearity import LinearityCurve, almost_linearity, expected_gradient_change
from assay.adversarial.attacks.malt import MALT, MALTResult
from assay.adversarial.attacks.masking import GradientMasking, find_masking
from assay.adversarial.attacks.pgd import PGD
from assay.adversarial.attacks.robustness import robust_accuracy, standard_attacks
from assay.adversarial.attacks.robustness_report import AttackTally, RobustnessReport
from assay.adversarial.attacks.square import Square
from assay.adversarial.attacks.step_least_likely import StepLeastLikely
from assay.adversarial.attacks.targeted_step import TargetedStep
from assay.adversarial.attacks.targeting import malt_scores, malt_targets, naive_targets
from assay.adversarial.attacks.threat import Lp, check_norm
from assay.adversarial.attacks.transfer import TransferResult, transfer_attack

__all__ = [
    "APGD",
    "FGSM",
    "MALT",
    "PGD",
    "Attack",
    "AttackResult",
    "AttackTally",
    "Certificate",
    "ExpectedScores",
    "GradientMasking",
    "LinearityCurve",
    "Lp",
    "MALTResult",
    "PassCounter",
    "RobustnessReport",
    "Square",
    "StepLeastLikely",
    "TargetedAPGD",
    "TargetedStep",
    "TransferResult",
    "almost_linearity",
    "attack_batches",
    "attackable",
    "check_attack",
    "check_attackable",
    "check_norm",
    "expected_gradient_change",
    "find_masking",
    "interval_bounds",
    "interval_certificate",
    "malt_scores",
    "malt_targets",
    "naive_targets",
    "robust_accuracy",
    "run_attack",
    "standard_attacks",
    "transfer_attack",
]
