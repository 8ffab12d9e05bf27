"""Adversarial attacks on classifiers, robust accuracy, and measurements of adversarial vulnerability.

- `attacks`: attacks within norm balls, certificates, and robust accuracy. Papers: malt.
- `logit_gaps`: logit gaps and the scaling of adversarial error. Papers: logit-difference-universality.
- `minimal_norm`: the smallest perturbation that changes a prediction.
- `subspace`: adversarial directions orthogonal to the subspace of the data. Papers: subspace-adversarial.
"""

from assay.adversarial.attacks import (
    APGD,
    FGSM,
    MALT,
    PGD,
    Attack,
    AttackResult,
    ExpectedScores,
    Lp,
    RobustnessReport,
    Square,
    StepLeastLikely,
    TargetedAPGD,
    TargetedStep,
    almost_linearity,
    interval_certificate,
    malt_scores,
    malt_targets,
    robust_accuracy,
    run_attack,
    transfer_attack,
)
from assay.adversarial.logit_gaps import (
    EntropyRegularizedLoss,
    adversarial_error_curve,
    linear_response_radius,
    logit_differences,
    search_architectures,
)
from assay.adversarial.minimal_norm import FMN, DeepFool
from assay.adversarial.subspace import OffSubspaceAttack, SubspaceBasis, off_subspace_gradient, off_subspace_radius

__all__ = [
    "APGD",
    "FGSM",
    "FMN",
    "MALT",
    "PGD",
    "Attack",
    "AttackResult",
    "DeepFool",
    "EntropyRegularizedLoss",
    "ExpectedScores",
    "Lp",
    "OffSubspaceAttack",
    "RobustnessReport",
    "Square",
    "StepLeastLikely",
    "SubspaceBasis",
    "TargetedAPGD",
    "TargetedStep",
    "adversarial_error_curve",
    "almost_linearity",
    "interval_certificate",
    "linear_response_radius",
    "logit_differences",
    "malt_scores",
    "malt_targets",
    "off_subspace_gradient",
    "off_subspace_radius",
    "robust_accuracy",
    "run_attack",
    "search_architectures",
    "transfer_attack",
]
