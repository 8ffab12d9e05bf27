"""Faithfulness: whether an attribution marks what the network needs (Shah et al., 2021).

Papers: diffroar.
"""

from assay.attribution.faithfulness.attributors import attribute, input_gradient_attribution, predicted_classes
from assay.attribution.faithfulness.block_data import (
    LabelledBlocks,
    block_images,
    null_pattern,
    simplified_blocks,
)
from assay.attribution.faithfulness.feature_leakage import LeakageReport, leakage
from assay.attribution.faithfulness.max_margin import max_margin_gradient_pattern, mean_neuron_margin
from assay.attribution.faithfulness.retraining import DiffROARResult, diffroar
from assay.attribution.faithfulness.unmasking import rank_coordinates, unmask

__all__ = [
    "DiffROARResult",
    "LabelledBlocks",
    "LeakageReport",
    "attribute",
    "block_images",
    "diffroar",
    "input_gradient_attribution",
    "leakage",
    "max_margin_gradient_pattern",
    "mean_neuron_margin",
    "null_pattern",
    "predicted_classes",
    "rank_coordinates",
    "simplified_blocks",
    "unmask",
]
