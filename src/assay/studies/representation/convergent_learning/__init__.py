"""Convergent Learning: Do different neural networks learn the same representations? (Li et al., 2016)."""
