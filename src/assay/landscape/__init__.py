"""Curvature of the loss at a solution, the loss between solutions, opposing samples, and decision regions.

Papers: hessian-spectrum.

- `learning_rates`: the largest stable learning rate by batch size (batch-size-learning-rates).
- `opposing`: groups of samples that pull the network in opposite directions (opposing-signals).
- `regions`: decision regions on planes through samples (decision-boundaries).
"""

from assay.core import lanczos
from assay.landscape.alignment import AlignmentReport, gradient_covariance_alignment
from assay.landscape.bulk import Bulk
from assay.landscape.decomposition import (
    HessianDecomposition,
    factor_eigenvalues,
    gauss_newton_decomposition,
    gauss_newton_factor,
)
from assay.landscape.density import SpectralDensity, spectral_density
from assay.landscape.eigenpairs import top_eigenpairs
from assay.landscape.learning_rates import (
    LanczosLR,
    batch_hessian_extremes,
    estimate_hessian_noise,
    max_learning_rate,
    scale_learning_rate,
)
from assay.landscape.path import PathReport, linear_path
from assay.landscape.spectrum import SpectrumReport, hessian_spectrum
from assay.landscape.trace import TraceEstimate, hutch_plus_plus

__all__ = [
    "AlignmentReport",
    "Bulk",
    "HessianDecomposition",
    "LanczosLR",
    "PathReport",
    "SpectralDensity",
    "SpectrumReport",
    "TraceEstimate",
    "batch_hessian_extremes",
    "estimate_hessian_noise",
    "factor_eigenvalues",
    "gauss_newton_decomposition",
    "gauss_newton_factor",
    "gradient_covariance_alignment",
    "hessian_spectrum",
    "hutch_plus_plus",
    "lanczos",
    "linear_path",
    "max_learning_rate",
    "scale_learning_rate",
    "spectral_density",
    "top_eigenpairs",
]
