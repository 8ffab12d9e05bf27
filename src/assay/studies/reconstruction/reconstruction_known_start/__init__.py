"""Understanding Reconstruction Attacks with the Neural Tangent Kernel and Dataset Distillation (Loo et al., 2024)."""
