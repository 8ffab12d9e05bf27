"""Can Neural Nets Learn the Same Model Twice? Reproducibility and Double Descent (Somepalli et al., 2022)."""
