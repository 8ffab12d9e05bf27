"""Unconstrained Stochastic CCA (Chapman, Wells and Lawry Aguila, 2024)."""
