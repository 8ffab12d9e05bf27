"""Which training samples can be recovered from a network's weights."""

from assay.reconstruction.condense import Condensed, condense
from assay.reconstruction.consensus import Consensus, consensus
from assay.reconstruction.entry import dense_head, first_layer_inputs
from assay.reconstruction.exact import ExactSamples, exact_samples
from assay.reconstruction.kkt import KKTReconstructor
from assay.reconstruction.multipliers import Objective
from assay.reconstruction.predicted import predicted_multipliers
from assay.reconstruction.roc import ReconstructionROC, reconstruction_roc
from assay.reconstruction.scoring import ReconstructionScore, score_reconstructions
from assay.reconstruction.similarity import normalized_correlation, structural_similarity
from assay.reconstruction.stationarity import StationarityResult, oracle_multipliers, stationarity_residual
from assay.reconstruction.subspace import Subspace, compress_first_layer, noise_rank
from assay.reconstruction.surrogate import SurrogateReLU, set_sharpness, with_surrogate_relu
from assay.reconstruction.training import TrainingReport, train_in_span, train_to_stationarity

__all__ = [
    "Condensed",
    "Consensus",
    "ExactSamples",
    "KKTReconstructor",
    "Objective",
    "ReconstructionROC",
    "ReconstructionScore",
    "StationarityResult",
    "Subspace",
    "SurrogateReLU",
    "TrainingReport",
    "compress_first_layer",
    "condense",
    "consensus",
    "dense_head",
    "exact_samples",
    "first_layer_inputs",
    "noise_rank",
    "normalized_correlation",
    "oracle_multipliers",
    "predicted_multipliers",
    "reconstruction_roc",
    "score_reconstructions",
    "set_sharpness",
    "stationarity_residual",
    "structural_similarity",
    "train_in_span",
    "train_to_stationarity",
    "with_surrogate_relu",
]
