"""Studies of papers on adversarial examples."""
