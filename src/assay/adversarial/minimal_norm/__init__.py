"""Attacks that search for the smallest perturbation.

Their distances give robust accuracy at every radius in one run. No study of its own: they stand beside the attacks of
`assay.adversarial.attacks` (Moosavi-Dezfooli et al., 2016; Pintor et al., 2021).
"""

from assay.adversarial.minimal_norm.deepfool import DeepFool
from assay.adversarial.minimal_norm.fmn import FMN

__all__ = ["FMN", "DeepFool"]
