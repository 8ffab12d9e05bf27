"""Diffusion models: denoisers and guided samplers."""

from assay.nets.diffusion.denoisers import (
    Denoiser,
    GaussianMixtureDenoiser,
    UNetDenoiser,
    linear_noise_schedule,
)
from assay.nets.diffusion.guided_sampling import (
    GuidedDDIMSampler,
)

__all__ = [
    "Denoiser",
    "GaussianMixtureDenoiser",
    "GuidedDDIMSampler",
    "UNetDenoiser",
    "linear_noise_schedule",
]
