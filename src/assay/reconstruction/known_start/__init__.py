"""Reconstruction from a network whose initial weights are known: guessed from the seed, or a public checkpoint.

Papers: reconstruction-frontier, reconstruction-known-start.
"""

from assay.reconstruction.known_start.displacement import Displacement, measure_displacement
from assay.reconstruction.known_start.initial_state import InitialState, guess_initial_state
from assay.reconstruction.known_start.initializers import INITIALIZERS
from assay.reconstruction.known_start.reconstructor import KnownStartReconstructor
from assay.reconstruction.known_start.share import start_share
from assay.reconstruction.known_start.verdict import KnownStartVerdict

__all__ = [
    "INITIALIZERS",
    "Displacement",
    "InitialState",
    "KnownStartReconstructor",
    "KnownStartVerdict",
    "guess_initial_state",
    "measure_displacement",
    "start_share",
]
