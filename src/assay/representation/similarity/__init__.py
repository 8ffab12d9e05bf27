"""Similarity of representations, and of two networks layer by layer.

No study of its own: the measures that the studies of representations share. `compare_networks` gives the map of all
layers, the other functions take two matrices with the same samples as rows.
"""

from assay.representation.similarity.comparison import compare_networks
from assay.representation.similarity.kernels import linear_cka, rbf_cka
from assay.representation.similarity.layer_maps import SimilarityMap
from assay.representation.similarity.subspaces import (
    linear_regression_r2,
    mean_cca,
    procrustes_similarity,
    pwcca,
    svcca,
)
from assay.representation.similarity.units import matching_similarity

__all__ = [
    "SimilarityMap",
    "compare_networks",
    "linear_cka",
    "linear_regression_r2",
    "matching_similarity",
    "mean_cca",
    "procrustes_similarity",
    "pwcca",
    "rbf_cka",
    "svcca",
]
