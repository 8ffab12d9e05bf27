"""Reconstructing Training Data from Multiclass Neural Networks (Buzaglo et al., 2023)."""
