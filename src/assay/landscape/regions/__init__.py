"""Decision regions on planes through samples: how they look, how alike those of two networks are, how they break up.

Papers: decision-boundaries.
"""

from assay.landscape.regions.agreement import (
    Reproducibility,
    ReproducibilityMatrix,
    reproducibility_matrix,
    reproducibility_score,
)
from assay.landscape.regions.components import Fragmentation, fragmentation_score
from assay.landscape.regions.drawing import plot_decision_regions
from assay.landscape.regions.planes import Plane, sample_planes
from assay.landscape.regions.predictions import plane_predictions, predicted_class
from assay.landscape.regions.segments import DirectionalMargins, directional_margin, path_class_changes
from assay.landscape.regions.widths import WidthStudy, width_study

__all__ = [
    "DirectionalMargins",
    "Fragmentation",
    "Plane",
    "Reproducibility",
    "ReproducibilityMatrix",
    "WidthStudy",
    "directional_margin",
    "fragmentation_score",
    "path_class_changes",
    "plane_predictions",
    "plot_decision_regions",
    "predicted_class",
    "reproducibility_matrix",
    "reproducibility_score",
    "sample_planes",
    "width_study",
]
