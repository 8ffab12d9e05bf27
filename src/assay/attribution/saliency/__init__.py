"""Saliency maps from the gradients of a layer's own parameters.

Papers: normgrad.
"""

from assay.attribution.saliency.attributor import NormGrad, gradient_spatial_variance
from assay.attribution.saliency.combination import combine_saliency, upsample_saliency
from assay.attribution.saliency.contributions import (
    SALIENCY_METHODS,
    VirtualIdentity,
    aggregate,
    contribution_map,
    extract,
)
from assay.attribution.saliency.deletion import DeletionInsertionCurve, deletion_insertion_curve
from assay.attribution.saliency.drawing import plot_saliency, plot_token_saliency
from assay.attribution.saliency.localization import (
    LocalizationSet,
    box_masks,
    energy_in_box,
    make_localization,
    pointing_hits,
)
from assay.attribution.saliency.sensitivity import ClassSensitivity, class_sensitivity, map_correlation

__all__ = [
    "SALIENCY_METHODS",
    "ClassSensitivity",
    "DeletionInsertionCurve",
    "LocalizationSet",
    "NormGrad",
    "VirtualIdentity",
    "aggregate",
    "box_masks",
    "class_sensitivity",
    "combine_saliency",
    "contribution_map",
    "deletion_insertion_curve",
    "energy_in_box",
    "extract",
    "gradient_spatial_variance",
    "make_localization",
    "map_correlation",
    "plot_saliency",
    "plot_token_saliency",
    "pointing_hits",
    "upsample_saliency",
]
