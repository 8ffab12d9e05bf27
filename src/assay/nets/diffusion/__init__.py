"""Diffusion models: denoisers, noise schedules and guided samplers.

Papers: guided-diffusion-poisoning.
"""

from assay.nets.diffusion.denoisers import Denoiser, GaussianMixtureDenoiser, UNetDenoiser, linear_noise_schedule
from assay.nets.diffusion.guided_sampling import GuidedDDIMSampler

__all__ = [
    "Denoiser",
    "GaussianMixtureDenoiser",
    "GuidedDDIMSampler",
    "UNetDenoiser",
    "linear_noise_schedule",
]
