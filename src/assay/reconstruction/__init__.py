"""Reconstruction of training samples from the weights of a network.

Topics:

- `kkt`: from the stationarity (KKT) conditions of the trained weights: reconstruction-multiclass,
  reconstruction-general-losses, reconstruction-transfer, reconstruction-frontier;
- `embeddings`: from recovered embeddings to inputs: reconstruction-transfer;
- `known_start`: from the weights before and after training, the former guessed from the seed: reconstruction-frontier,
  reconstruction-known-start;
- `scoring`: scores and null distributions: reconstruction-multiclass, reconstruction-frontier;
- simulated training (`SimulatedDynamicsReconstructor`) and shadow networks (`ShadowReconstructor`):
  reconstruction-frontier;
- stationarity, predicted multipliers and training to stationarity: reconstruction-general-losses.
"""

from assay.reconstruction.embeddings import invert_embedding, retrieval_audit
from assay.reconstruction.kkt import (
    ConsensusSelector,
    ExactSamples,
    KKTReconstructor,
    exact_samples,
)
from assay.reconstruction.known_start import InitialState, KnownStartReconstructor, guess_initial_state
from assay.reconstruction.predicted import predicted_multipliers
from assay.reconstruction.scoring import (
    ReconstructionROC,
    ReconstructionScore,
    normalized_correlation,
    reconstruction_roc,
    score_reconstructions,
    structural_similarity,
)
from assay.reconstruction.shadow_networks import ShadowReconstructor
from assay.reconstruction.simulated_dynamics import SimulatedDynamicsReconstructor
from assay.reconstruction.simulated_training import simulate_training
from assay.reconstruction.stationarity import StationarityResult, oracle_multipliers, stationarity_residual
from assay.reconstruction.training import TrainingReport, train_in_span, train_to_stationarity

__all__ = [
    "ConsensusSelector",
    "ExactSamples",
    "InitialState",
    "KKTReconstructor",
    "KnownStartReconstructor",
    "ReconstructionROC",
    "ReconstructionScore",
    "ShadowReconstructor",
    "SimulatedDynamicsReconstructor",
    "StationarityResult",
    "TrainingReport",
    "exact_samples",
    "guess_initial_state",
    "invert_embedding",
    "normalized_correlation",
    "oracle_multipliers",
    "predicted_multipliers",
    "reconstruction_roc",
    "retrieval_audit",
    "score_reconstructions",
    "simulate_training",
    "stationarity_residual",
    "structural_similarity",
    "train_in_span",
    "train_to_stationarity",
]
