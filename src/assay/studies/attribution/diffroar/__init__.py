"""Do Input Gradients Highlight Discriminative Features? (Shah et al., 2021)."""
