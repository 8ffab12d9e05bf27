"""Reconstruction from a network whose initial weights are known: guessed from the seed, or a public checkpoint.

Papers: reconstruction-frontier.
"""

from assay.reconstruction.known_start.initial_state import InitialState, guess_initial_state
from assay.reconstruction.known_start.initializers import INITIALIZERS
from assay.reconstruction.known_start.share import start_share

__all__ = ["INITIALIZERS", "InitialState", "guess_initial_state", "start_share"]
