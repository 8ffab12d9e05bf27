"""Logit gaps of classifiers and the power law of adversarial error.

Papers: logit-difference-universality.
"""

from assay.adversarial.logit_gaps.architecture_search import (
    ArchitectureSearch,
    ArchitectureTrial,
    search_architectures,
)
from assay.adversarial.logit_gaps.differences import gap_exponent, logit_differences
from assay.adversarial.logit_gaps.entropy import EntropyRegularizedLoss
from assay.adversarial.logit_gaps.error_curve import ErrorCurve, adversarial_error_curve
from assay.adversarial.logit_gaps.linear_response import linear_response_error, linear_response_radius

__all__ = [
    "ArchitectureSearch",
    "ArchitectureTrial",
    "EntropyRegularizedLoss",
    "ErrorCurve",
    "adversarial_error_curve",
    "gap_exponent",
    "linear_response_error",
    "linear_response_radius",
    "logit_differences",
    "search_architectures",
]
