"""Canonical correlations by stochastic gradients: CCA, PLS, deep CCA and self-supervised learning by one loss.

Papers: stochastic-cca.
"""

from assay.representation.cca.closed_form import (
    LinearCCA,
    canonical_correlations,
    closed_form_cca,
    total_correlation_captured,
)
from assay.representation.cca.deep import DeepCCA, fit_deep_cca
from assay.representation.cca.eckart_young import EckartYoungLoss, eckart_young_loss
from assay.representation.cca.eigenproblem import GEPSubspace, cca_gep, gep_subspace
from assay.representation.cca.estimators import StochasticCCA, StochasticPLS
from assay.representation.cca.peers import BarlowTwinsLoss, FullCCALoss, VICRegLoss

__all__ = [
    "BarlowTwinsLoss",
    "DeepCCA",
    "EckartYoungLoss",
    "FullCCALoss",
    "GEPSubspace",
    "LinearCCA",
    "StochasticCCA",
    "StochasticPLS",
    "VICRegLoss",
    "canonical_correlations",
    "cca_gep",
    "closed_form_cca",
    "eckart_young_loss",
    "fit_deep_cca",
    "gep_subspace",
    "total_correlation_captured",
]
