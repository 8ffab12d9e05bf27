"""Learning rates as a function of batch size, from the curvature of mini-batches (Granziol, Zohren, Roberts, 2022).

Papers: batch-size-learning-rates.
"""

from assay.landscape.learning_rates.heavy_ball import LanczosLR, polyak_heavy_ball
from assay.landscape.learning_rates.inflation import (
    batch_gauss_newton_extremes,
    batch_hessian_extremes,
    effective_batch_size,
)
from assay.landscape.learning_rates.noise import HessianNoise, estimate_hessian_noise
from assay.landscape.learning_rates.rules import max_learning_rate, scale_learning_rate

__all__ = [
    "HessianNoise",
    "LanczosLR",
    "batch_gauss_newton_extremes",
    "batch_hessian_extremes",
    "effective_batch_size",
    "estimate_hessian_noise",
    "max_learning_rate",
    "polyak_heavy_ball",
    "scale_learning_rate",
]
