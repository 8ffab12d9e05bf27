"""Study of outliers with opposing signals (Rosenfeld and Risteski, 2024)."""
