"""Training samples from the stationarity (KKT) conditions of a trained network.

Papers: reconstruction-multiclass, reconstruction-general-losses, reconstruction-transfer, reconstruction-frontier.
"""

from assay.reconstruction.kkt.consensus import (
    DISTANCE,
)
from assay.reconstruction.kkt.entry import (
    dense_head,
    first_layer_inputs,
)
from assay.reconstruction.kkt.exact import (
    ExactSamples,
    exact_samples,
)
from assay.reconstruction.kkt.merge_units import (
    Condensed,
    condense,
)
from assay.reconstruction.kkt.multipliers import (
    LABELLED,
    Objective,
    check_objective,
    margin_cotangents,
)
from assay.reconstruction.kkt.reconstructor import (
    EmbeddingReconstructor,
    KKTReconstructor,
)
from assay.reconstruction.kkt.selector import (
    ConsensusSelector,
)
from assay.reconstruction.kkt.subspace import (
    Subspace,
    compress_first_layer,
    noise_rank,
)
from assay.reconstruction.kkt.surrogate import (
    SurrogateReLU,
    set_sharpness,
    with_surrogate_relu,
)
from assay.reconstruction.kkt.target import (
    initial_network,
)

__all__ = [
    "DISTANCE",
    "LABELLED",
    "Condensed",
    "ConsensusSelector",
    "EmbeddingReconstructor",
    "ExactSamples",
    "KKTReconstructor",
    "Objective",
    "Subspace",
    "SurrogateReLU",
    "check_objective",
    "compress_first_layer",
    "condense",
    "dense_head",
    "exact_samples",
    "first_layer_inputs",
    "initial_network",
    "margin_cotangents",
    "noise_rank",
    "set_sharpness",
    "with_surrogate_relu",
]
