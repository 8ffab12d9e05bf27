"""Accuracy on the Curve (Liang, Mao et al., 2023)."""
