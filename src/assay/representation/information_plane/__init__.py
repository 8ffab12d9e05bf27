"""Mutual information of layers by estimators that adapt to their activity (Chelombiev et al., 2019).

Papers: adaptive-mutual-information.
"""

from assay.representation.information_plane.binning import (
    activation_lower_bound,
    entropy_adaptive_codes,
    fixed_codes,
)
from assay.representation.information_plane.discrete import (
    LayerInformation,
    adaptive_information,
    fixed_information,
    layer_information,
)
from assay.representation.information_plane.kernel_bounds import kde_information
from assay.representation.information_plane.planes import InformationPlane, trace_information

__all__ = [
    "InformationPlane",
    "LayerInformation",
    "activation_lower_bound",
    "adaptive_information",
    "entropy_adaptive_codes",
    "fixed_codes",
    "fixed_information",
    "kde_information",
    "layer_information",
    "trace_information",
]
