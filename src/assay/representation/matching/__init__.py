"""Units of one network in another: one to one, one to few, many to many (Li et al., 2016).

Papers: convergent-learning.
"""

from assay.representation.matching.assignment import UnitMatching, match_units
from assay.representation.matching.clusters import UnitClusters, cluster_units
from assay.representation.matching.convergence import ConvergentLearningReport, PairAlignment, convergent_learning
from assay.representation.matching.correlations import UnitStatistics, activation_statistics, unit_statistics
from assay.representation.matching.information import percentile_mutual_information
from assay.representation.matching.prediction import SparsePredictionPath, sparse_prediction
from assay.representation.matching.redundancy import (
    LayerRedundancy,
    RedundancyReport,
    hidden_layers,
    unit_redundancy,
)
from assay.representation.matching.rows import unit_rows

__all__ = [
    "ConvergentLearningReport",
    "LayerRedundancy",
    "PairAlignment",
    "RedundancyReport",
    "SparsePredictionPath",
    "UnitClusters",
    "UnitMatching",
    "UnitStatistics",
    "activation_statistics",
    "cluster_units",
    "convergent_learning",
    "hidden_layers",
    "match_units",
    "percentile_mutual_information",
    "sparse_prediction",
    "unit_redundancy",
    "unit_rows",
    "unit_statistics",
]
