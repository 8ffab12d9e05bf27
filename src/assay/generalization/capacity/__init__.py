"""Effective model complexity: how many samples a network and its training can fit (Shwartz-Ziv et al., 2024).

Papers: effective-model-complexity.
"""

from assay.generalization.capacity.closed_forms import cover_probability
from assay.generalization.capacity.measuring import effective_model_complexity, label_gap
from assay.generalization.capacity.minimum import MinimumCheck, minimum_check
from assay.generalization.capacity.reparametrization import SubspaceNetwork, quantized_network
from assay.generalization.capacity.results import CapacityProbe, EffectiveModelComplexity, LabelGap
from assay.generalization.capacity.training import EstimatorProcedure, StackedProcedure, TrainingProcedure

__all__ = [
    "CapacityProbe",
    "EffectiveModelComplexity",
    "EstimatorProcedure",
    "LabelGap",
    "MinimumCheck",
    "StackedProcedure",
    "SubspaceNetwork",
    "TrainingProcedure",
    "cover_probability",
    "effective_model_complexity",
    "label_gap",
    "minimum_check",
    "quantized_network",
]
