"""Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear Subspaces (Melamed et al., 2023)."""
