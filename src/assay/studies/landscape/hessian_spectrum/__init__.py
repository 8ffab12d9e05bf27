"""Empirical Analysis of the Hessian of Over-Parametrized Neural Networks (Sagun et al., 2017)."""
