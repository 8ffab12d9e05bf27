"""Reconstructing Training Data From Real World Models Trained with Transfer Learning (Oz et al., 2024)."""
