"""Entropy and information of representations by diffusion (diffusion-spectral-entropy)."""

__all__: list[str] = []
