"""Reversing the Forget-Retain Objectives: LLM Unlearning from Logit Difference (Ji et al., 2024)."""
