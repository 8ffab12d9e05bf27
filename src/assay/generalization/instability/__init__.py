"""Training instabilities of transformers: monitors, learning-rate sensitivity, and the interventions against them.

Papers: training-instability-proxies.
"""

from assay.generalization.instability.decay import IndependentAdamW
from assay.generalization.instability.forecast import InstabilityForecast, predict_instability
from assay.generalization.instability.log_partition import z_loss
from assay.generalization.instability.monitor import StabilityMonitor
from assay.generalization.instability.rates import LEARNING_RATES, LRSweep, lr_sensitivity, lr_sweep
from assay.generalization.instability.records import StabilityRecord
from assay.generalization.instability.warmup import WarmupCosine
from assay.generalization.instability.widths import mup_param_groups

__all__ = [
    "LEARNING_RATES",
    "IndependentAdamW",
    "InstabilityForecast",
    "LRSweep",
    "StabilityMonitor",
    "StabilityRecord",
    "WarmupCosine",
    "lr_sensitivity",
    "lr_sweep",
    "mup_param_groups",
    "predict_instability",
    "z_loss",
]
