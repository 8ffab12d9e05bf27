"""Disparities of explanations between groups: surrogates, their fidelity and its gaps (Mhasawade et al., 2024).

Papers: explanation-disparities.
"""

from assay.attribution.disparities.fidelity import DisparityReport, explanation_disparity, top_k_agreement
from assay.attribution.disparities.lime_backend import LimeBackend
from assay.attribution.disparities.significance import GapTest, bootstrap_gap
from assay.attribution.disparities.simulation import (
    SimulatedData,
    simulate_concept_shift,
    simulate_covariate_shift,
    simulate_omitted_variable,
    simulate_sample_size,
)
from assay.attribution.disparities.surrogate import LocalSurrogate, SurrogateResult
from assay.attribution.disparities.sweeping import SweepResult, disparity_sweep

__all__ = [
    "DisparityReport",
    "GapTest",
    "LimeBackend",
    "LocalSurrogate",
    "SimulatedData",
    "SurrogateResult",
    "SweepResult",
    "bootstrap_gap",
    "disparity_sweep",
    "explanation_disparity",
    "simulate_concept_shift",
    "simulate_covariate_shift",
    "simulate_omitted_variable",
    "simulate_sample_size",
    "top_k_agreement",
]
