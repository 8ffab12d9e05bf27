"""Reconstruction of training samples from the stationarity (KKT) conditions of a trained network.

Papers: reconstruction-multiclass, reconstruction-general-losses, reconstruction-transfer, reconstruction-frontier.
"""

from assay.reconstruction.kkt.assumptions import plain_copy
from assay.reconstruction.kkt.consensus import CONSENSUS_DISTANCE, ConsensusSelector
from assay.reconstruction.kkt.data_span import DataSpan, compress_first_layer, noise_rank, write_in_basis
from assay.reconstruction.kkt.exact import ExactSamples, exact_samples
from assay.reconstruction.kkt.input_layer import (
    dense_chain,
    dense_head,
    first_layer,
    first_layer_inputs,
    from_first_layer,
)
from assay.reconstruction.kkt.kinks import SurrogateKinks
from assay.reconstruction.kkt.merge_units import MergedUnits, merge_parallel_units
from assay.reconstruction.kkt.multipliers import (
    LABELLED_OBJECTIVES,
    Multipliers,
    Objective,
    check_objective,
    default_objective,
    margin_cotangents,
    start_multipliers,
)
from assay.reconstruction.kkt.reconstructor import KKTReconstructor
from assay.reconstruction.kkt.search import StationarityGap, minimize_gap
from assay.reconstruction.kkt.surrogate import SurrogateReLU, set_sharpness, with_surrogate_relu
from assay.reconstruction.kkt.target import initial_network
from assay.reconstruction.kkt.verdict import OUTCOME_TITLES, Outcome, ReconstructionVerdict

__all__ = [
    "CONSENSUS_DISTANCE",
    "LABELLED_OBJECTIVES",
    "OUTCOME_TITLES",
    "ConsensusSelector",
    "DataSpan",
    "ExactSamples",
    "KKTReconstructor",
    "MergedUnits",
    "Multipliers",
    "Objective",
    "Outcome",
    "ReconstructionVerdict",
    "StationarityGap",
    "SurrogateKinks",
    "SurrogateReLU",
    "check_objective",
    "compress_first_layer",
    "default_objective",
    "dense_chain",
    "dense_head",
    "exact_samples",
    "first_layer",
    "first_layer_inputs",
    "from_first_layer",
    "initial_network",
    "margin_cotangents",
    "merge_parallel_units",
    "minimize_gap",
    "noise_rank",
    "plain_copy",
    "set_sharpness",
    "start_multipliers",
    "with_surrogate_relu",
    "write_in_basis",
]
