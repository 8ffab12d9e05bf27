"""Certified Neural Network Watermarks with Randomized Smoothing (Bansal et al., 2022)."""
