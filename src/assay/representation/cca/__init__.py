"""Canonical correlations by stochastic gradients (stochastic-cca)."""

__all__: list[str] = []
