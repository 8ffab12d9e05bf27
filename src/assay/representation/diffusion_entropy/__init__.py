"""Entropy and information of representations by diffusion (Liao et al., 2023).

Papers: diffusion-spectral-entropy.
"""

from assay.representation.diffusion_entropy.binning import binned_entropy, binned_mutual_information
from assay.representation.diffusion_entropy.entropy import DiffusionEntropy, diffusion_spectral_entropy
from assay.representation.diffusion_entropy.information import (
    DiffusionInformation,
    cluster_reference,
    diffusion_spectral_mutual_information,
)
from assay.representation.diffusion_entropy.kernel import (
    GaussianKernelOperator,
    diffusion_eigenvalues,
    diffusion_time,
    median_bandwidth,
)
from assay.representation.diffusion_entropy.loss import DiffusionSpectralEntropyLoss
from assay.representation.diffusion_entropy.traces import (
    RepresentationTrace,
    entropy_by_layer,
    representation_trajectory,
)

__all__ = [
    "DiffusionEntropy",
    "DiffusionInformation",
    "DiffusionSpectralEntropyLoss",
    "GaussianKernelOperator",
    "RepresentationTrace",
    "binned_entropy",
    "binned_mutual_information",
    "cluster_reference",
    "diffusion_eigenvalues",
    "diffusion_spectral_entropy",
    "diffusion_spectral_mutual_information",
    "diffusion_time",
    "entropy_by_layer",
    "median_bandwidth",
    "representation_trajectory",
]
