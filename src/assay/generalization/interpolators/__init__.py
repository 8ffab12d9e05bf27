"""Random interpolators: networks with random weights that fit the training set (Buzaglo, Harel et al., 2024).

Papers: random-interpolators.
"""

from assay.generalization.interpolators.classifier import RandomInterpolatorClassifier
from assay.generalization.interpolators.complexity import sample_complexity_bound, teacher_complexity
from assay.generalization.interpolators.enumeration import FunctionPrior, enumerate_functions
from assay.generalization.interpolators.guessing import GuessAndCheckResult, guess_and_check
from assay.generalization.interpolators.quantized import QuantizedMLP

__all__ = [
    "FunctionPrior",
    "GuessAndCheckResult",
    "QuantizedMLP",
    "RandomInterpolatorClassifier",
    "enumerate_functions",
    "guess_and_check",
    "sample_complexity_bound",
    "teacher_complexity",
]
