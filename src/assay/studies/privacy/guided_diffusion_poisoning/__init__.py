"""Generating Potent Poisons and Backdoors from Scratch with Guided Diffusion (Souri et al., 2024)."""
