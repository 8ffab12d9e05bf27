"""Deconstructing Data Reconstruction: Multiclass, Weight Decay and General Losses (Buzaglo et al., 2023)."""
