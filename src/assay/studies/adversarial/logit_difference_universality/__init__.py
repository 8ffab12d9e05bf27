"""Intriguing Properties of Adversarial Examples (Cubuk et al., 2017)."""
