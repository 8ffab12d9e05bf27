"""Be More Active! Differences between Mean and Sampled Representations of VAEs (Bonheme and Grzes, 2021)."""
