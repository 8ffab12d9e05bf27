"""How Uniform Random Weights Induce Non-uniform Bias (Buzaglo, Harel et al., 2024)."""
