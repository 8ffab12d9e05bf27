"""Certified watermarks: whether a network is a copy of the owner's, and attacks that try to remove the watermark.

Papers: certified-watermark.
"""

from assay.privacy.watermark.certificate import WatermarkCertificate, certify_watermark, percentile_bounds
from assay.privacy.watermark.compression import Pruning, Quantisation
from assay.privacy.watermark.parameter_shifts import RandomShift, TriggerAscent
from assay.privacy.watermark.removal import RemovalAttack, RemovalReport, RemovalStage, RemovalTask
from assay.privacy.watermark.retraining import Retraining
from assay.privacy.watermark.smoothed_watermark import SmoothedWatermark
from assay.privacy.watermark.smoothing import smoothed_trigger_accuracy, smoothed_trigger_gradient
from assay.privacy.watermark.triggers import TriggerSet

__all__ = [
    "Pruning",
    "Quantisation",
    "RandomShift",
    "RemovalAttack",
    "RemovalReport",
    "RemovalStage",
    "RemovalTask",
    "Retraining",
    "SmoothedWatermark",
    "TriggerAscent",
    "TriggerSet",
    "WatermarkCertificate",
    "certify_watermark",
    "percentile_bounds",
    "smoothed_trigger_accuracy",
    "smoothed_trigger_gradient",
]
