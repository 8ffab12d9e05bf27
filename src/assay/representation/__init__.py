"""Representations: what the layers of a network encode, and how alike two networks are.

- `cca`: canonical correlations by stochastic gradients (stochastic-cca).
- `diffusion_entropy`: entropy and information of representations by diffusion (diffusion-spectral-entropy).
- `information_plane`: mutual information of layers by estimators that adapt (adaptive-mutual-information).
- `latent_variables`: active and passive variables of variational autoencoders (vae-active-variables).
- `matching`: units of one network in another (convergent-learning).
- `similarity`: similarity of the representations of two networks, layer by layer.
"""

from assay.representation.cca import DeepCCA, EckartYoungLoss, StochasticCCA, StochasticPLS, eckart_young_loss
from assay.representation.diffusion_entropy import (
    DiffusionSpectralEntropyLoss,
    diffusion_spectral_entropy,
    diffusion_spectral_mutual_information,
    entropy_by_layer,
    representation_trajectory,
)
from assay.representation.information_plane import (
    adaptive_information,
    entropy_adaptive_codes,
    kde_information,
    trace_information,
)
from assay.representation.latent_variables import (
    ActiveVariableSelector,
    compare_representations,
    total_correlation,
    variable_types,
)
from assay.representation.matching import (
    convergent_learning,
    match_units,
    sparse_prediction,
    unit_redundancy,
    unit_statistics,
)
from assay.representation.similarity import SimilarityMap, compare_networks, linear_cka

__all__ = [
    "ActiveVariableSelector",
    "DeepCCA",
    "DiffusionSpectralEntropyLoss",
    "EckartYoungLoss",
    "SimilarityMap",
    "StochasticCCA",
    "StochasticPLS",
    "adaptive_information",
    "compare_networks",
    "compare_representations",
    "convergent_learning",
    "diffusion_spectral_entropy",
    "diffusion_spectral_mutual_information",
    "eckart_young_loss",
    "entropy_adaptive_codes",
    "entropy_by_layer",
    "kde_information",
    "linear_cka",
    "match_units",
    "representation_trajectory",
    "sparse_prediction",
    "total_correlation",
    "trace_information",
    "unit_redundancy",
    "unit_statistics",
    "variable_types",
]
