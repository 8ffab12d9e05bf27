"""Attacks that search for the smallest perturbation.

Their distances give robust accuracy at every radius in one run.
"""

from assay.adversarial.minimal_norm.deepfool import DeepFool
from assay.adversarial.minimal_norm.fmn import FMN

__all__ = ["FMN", "DeepFool"]
