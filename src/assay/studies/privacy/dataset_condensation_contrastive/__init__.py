"""Dataset Condensation with Contrastive Signals (Lee et al., 2022)."""
