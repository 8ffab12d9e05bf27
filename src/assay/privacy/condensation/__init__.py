"""Dataset condensation: small synthetic training sets by gradient matching.

Papers: dataset-condensation-contrastive.
"""

from assay.privacy.condensation.accuracy import (
    CondensedAccuracy,
    evaluate_condensed,
)
from assay.privacy.condensation.condenser import (
    DatasetCondenser,
    Matching,
)
from assay.privacy.condensation.gradient_matching import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    gradient_distance,
)
from assay.privacy.condensation.replay import CondensedReplay
from assay.privacy.condensation.siamese_augmentation import SiameseAugmentation
from assay.privacy.condensation.velocity import kernel_velocity

__all__ = [
    "ClassWiseGradientMatching",
    "CondensedAccuracy",
    "CondensedReplay",
    "ContrastiveGradientMatching",
    "DatasetCondenser",
    "Matching",
    "SiameseAugmentation",
    "evaluate_condensed",
    "gradient_distance",
    "kernel_velocity",
]
