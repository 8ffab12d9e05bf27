"""Subpopulations: minority against majority accuracy over many models, and spurious correlation (Liang, Mao et al.).

Papers: accuracy-on-the-curve.
"""

from assay.generalization.subpopulations.accuracies import (
    SubgroupAccuracy,
    balanced_accuracy,
    count_cells,
    mixture_accuracy,
    subgroup_accuracy,
)
from assay.generalization.subpopulations.cifar import Subpopulations, modified_cifar4
from assay.generalization.subpopulations.counts import balanced_subgroups, draw_cells, spurious_counts
from assay.generalization.subpopulations.curves import Knee, PolynomialFits
from assay.generalization.subpopulations.gap import AccuracyGap, accuracy_gap, accuracy_gap_theorem
from assay.generalization.subpopulations.moons import MoonShape, moon_shape
from assay.generalization.subpopulations.pools import Configuration, ModelPool, train_model_pool

__all__ = [
    "AccuracyGap",
    "Configuration",
    "Knee",
    "ModelPool",
    "MoonShape",
    "PolynomialFits",
    "SubgroupAccuracy",
    "Subpopulations",
    "accuracy_gap",
    "accuracy_gap_theorem",
    "balanced_accuracy",
    "balanced_subgroups",
    "count_cells",
    "draw_cells",
    "mixture_accuracy",
    "modified_cifar4",
    "moon_shape",
    "spurious_counts",
    "subgroup_accuracy",
    "train_model_pool",
]
