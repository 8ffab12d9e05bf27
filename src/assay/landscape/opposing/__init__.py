"""Opposing signals: small groups of samples that pull a network in opposite directions.

Papers: opposing-signals.
"""

from assay.landscape.opposing.changes import per_sample_loss_change
from assay.landscape.opposing.contrast import Contrast
from assay.landscape.opposing.features import last_layer_inputs
from assay.landscape.opposing.groups import OpposingGroups, find_opposing_groups
from assay.landscape.opposing.linear_model import OpposingLinearModel, OpposingPath
from assay.landscape.opposing.outliers import OpposingOutliers, make_opposing_outliers
from assay.landscape.opposing.split_optimizer import SplitSGD
from assay.landscape.opposing.trace import OpposingTrace
from assay.landscape.opposing.tracking import track_opposing

__all__ = [
    "Contrast",
    "OpposingGroups",
    "OpposingLinearModel",
    "OpposingOutliers",
    "OpposingPath",
    "OpposingTrace",
    "SplitSGD",
    "find_opposing_groups",
    "last_layer_inputs",
    "make_opposing_outliers",
    "per_sample_loss_change",
    "track_opposing",
]
