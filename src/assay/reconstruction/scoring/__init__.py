"""Scores of reconstructions against the training set and null distributions.

Papers: reconstruction-multiclass, reconstruction-frontier.
"""

from assay.reconstruction.scoring.roc import (
    ReconstructionROC,
    reconstruction_roc,
)
from assay.reconstruction.scoring.score import (
    ReconstructionScore,
    score_reconstructions,
)
from assay.reconstruction.scoring.similarity import (
    normalized_correlation,
    structural_similarity,
)

__all__ = [
    "ReconstructionROC",
    "ReconstructionScore",
    "normalized_correlation",
    "reconstruction_roc",
    "score_reconstructions",
    "structural_similarity",
]
