"""Canary in a Coalmine: Better Membership Inference with Ensembled Adversarial Queries (Wen et al., 2023)."""
