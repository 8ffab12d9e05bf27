"""Noise-Resilient Diffusion Spectral Entropy (Liao et al., 2023)."""
