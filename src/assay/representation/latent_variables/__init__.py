"""Active and passive variables of variational autoencoders (Bonheme and Grzes, 2021).

Papers: vae-active-variables.
"""

from assay.representation.latent_variables.dependence import (
    correlation_matrix,
    effective_rank,
    mutual_information_score,
    total_correlation,
)
from assay.representation.latent_variables.polarization import VariableTypes, variable_types
from assay.representation.latent_variables.representations import (
    DependenceScores,
    RepresentationComparison,
    compare_representations,
    sampled_correlation,
)
from assay.representation.latent_variables.selector import ActiveVariableSelector

__all__ = [
    "ActiveVariableSelector",
    "DependenceScores",
    "RepresentationComparison",
    "VariableTypes",
    "compare_representations",
    "correlation_matrix",
    "effective_rank",
    "mutual_information_score",
    "sampled_correlation",
    "total_correlation",
    "variable_types",
]
