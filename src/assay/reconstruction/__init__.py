"""Which training samples can be recovered from a network's weights."""

from assay.reconstruction.condense import Condensed, condense
from assay.reconstruction.entry import dense_head, first_layer_inputs
from assay.reconstruction.exact import ExactSamples, exact_samples
from assay.reconstruction.inversion import InversionResult, invert_embedding
from assay.reconstruction.kkt import EmbeddingReconstructor, KKTReconstructor
from assay.reconstruction.multipliers import Objective
from assay.reconstruction.predicted import predicted_multipliers
from assay.reconstruction.retrieval import RetrievalAudit, retrieval_audit
from assay.reconstruction.roc import ReconstructionROC, reconstruction_roc
from assay.reconstruction.scoring import ReconstructionScore, score_reconstructions
from assay.reconstruction.selector import ConsensusSelector
from assay.reconstruction.similarity import normalized_correlation, structural_similarity
from assay.reconstruction.simulated_dynamics import SimulatedDynamicsReconstructor, simulate_training
from assay.reconstruction.stationarity import StationarityResult, oracle_multipliers, stationarity_residual
from assay.reconstruction.subspace import Subspace, compress_first_layer, noise_rank
from assay.reconstruction.surrogate import SurrogateReLU, set_sharpness, with_surrogate_relu
from assay.reconstruction.training import TrainingReport, train_in_span, train_to_stationarity

__all__ = [
    "Condensed",
    "ConsensusSelector",
    "EmbeddingReconstructor",
    "ExactSamples",
    "InversionResult",
    "KKTReconstructor",
    "Objective",
    "ReconstructionROC",
    "ReconstructionScore",
    "RetrievalAudit",
    "SimulatedDynamicsReconstructor",
    "StationarityResult",
    "Subspace",
    "SurrogateReLU",
    "TrainingReport",
    "compress_first_layer",
    "condense",
    "dense_head",
    "exact_samples",
    "first_layer_inputs",
    "invert_embedding",
    "noise_rank",
    "normalized_correlation",
    "oracle_multipliers",
    "predicted_multipliers",
    "reconstruction_roc",
    "retrieval_audit",
    "score_reconstructions",
    "set_sharpness",
    "simulate_training",
    "stationarity_residual",
    "structural_similarity",
    "train_in_span",
    "train_to_stationarity",
    "with_surrogate_relu",
]
