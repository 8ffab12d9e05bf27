"""Reconstruction of training samples from a trained network and its initial weights.

Papers: reconstruction-frontier.
"""

from assay.reconstruction.known_start.displacement import Displacement, measure_displacement
from assay.reconstruction.known_start.reconstructor import KnownStartReconstructor
from assay.reconstruction.known_start.verdict import KnownStartVerdict

__all__ = ["Displacement", "KnownStartReconstructor", "KnownStartVerdict", "measure_displacement"]
