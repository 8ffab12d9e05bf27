"""Double descent in width, and the part of optimisation in it (Liu and Flanigan, 2023).

Papers: double-descent-optimization.
"""

from assay.generalization.double_descent.curve import DoubleDescentCurve
from assay.generalization.double_descent.evaluation import TrainFunction
from assay.generalization.double_descent.factors import FactorStudy, factor_study
from assay.generalization.double_descent.features import RandomFeatures
from assay.generalization.double_descent.models import FeatureRegression, RandomFeatureModel, TwoLayerModel
from assay.generalization.double_descent.modes import FeatureModes
from assay.generalization.double_descent.noise import preconditioned_condition_number, sgd_noise_floor
from assay.generalization.double_descent.path import gradient_descent_path
from assay.generalization.double_descent.peak import Peak, find_peak
from assay.generalization.double_descent.procedures import (
    AdamDescent,
    GradientDescent,
    LeastSquares,
    Procedure,
    Solution,
    StochasticGradientDescent,
)
from assay.generalization.double_descent.widths import double_descent_curve

__all__ = [
    "AdamDescent",
    "DoubleDescentCurve",
    "FactorStudy",
    "FeatureModes",
    "FeatureRegression",
    "GradientDescent",
    "LeastSquares",
    "Peak",
    "Procedure",
    "RandomFeatureModel",
    "RandomFeatures",
    "Solution",
    "StochasticGradientDescent",
    "TrainFunction",
    "TwoLayerModel",
    "double_descent_curve",
    "factor_study",
    "find_peak",
    "gradient_descent_path",
    "preconditioned_condition_number",
    "sgd_noise_floor",
]
