"""Studies of `assay.generalization`."""
