"""Adversarial directions orthogonal to the subspace of the data.

Papers: subspace-adversarial.
"""

from assay.adversarial.subspace.attack import (
    OffSubspaceAttack,
    off_subspace_radius,
    universal_off_subspace_direction,
)
from assay.adversarial.subspace.gradient import (
    GradientLaw,
    OffSubspaceGradient,
    SubspaceBasis,
    expected_off_gradient,
    off_subspace_gradient,
    orthogonal_complement,
)

__all__ = [
    "GradientLaw",
    "OffSubspaceAttack",
    "OffSubspaceGradient",
    "SubspaceBasis",
    "expected_off_gradient",
    "off_subspace_gradient",
    "off_subspace_radius",
    "orthogonal_complement",
    "universal_off_subspace_direction",
]
