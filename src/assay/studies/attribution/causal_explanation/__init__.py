"""Causal Analysis for Robust Interpretability of Neural Networks (Ahmad et al., 2023)."""
