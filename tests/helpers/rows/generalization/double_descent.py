"""The rows of double descent."""

import torch

from assay.core import seeded
from assay.generalization import (
    RandomFeatureModel,
    TwoLayerModel,
    double_descent_curve,
    factor_study,
    gradient_descent_path,
)
from assay.generalization.double_descent import (
    AdamDescent,
    FeatureModes,
    FeatureRegression,
    GradientDescent,
    LeastSquares,
    StochasticGradientDescent,
    find_peak,
    preconditioned_condition_number,
    sgd_noise_floor,
)
from helpers.rows.standalone import Formula


def _features(source, n):
    return tuple(torch.randn(n, size, generator=source, dtype=torch.float64) for size in (4, 2))


def _regression(source, n):
    return tuple(torch.randn(n, size, generator=source, dtype=torch.float64) for size in 2 * (3, 1))


def _by(procedure):
    def run(phi, y):
        return procedure(phi, y, FeatureModes.of(phi), phi.new_ones(phi.shape[1], y.shape[1]), seeded(1))

    return run


def _heights(*data):
    """Return the height of the peak of one setting, and the heights of two."""
    short, long = (RandomFeatureModel(GradientDescent(n_iter)) for n_iter in (3, 30))
    options = {"widths": (2, 6, 20), "n_seeds": 1}
    alone = double_descent_curve(*data, train=short, **options)
    return alone.peak_height, list(
        factor_study(*data, settings={"a": short, "b": long}, **options).peak_heights.values()
    )


ROWS = (
    Formula(
        FeatureModes,
        lambda source, n: _features(source, n)[:1],
        run=lambda phi: FeatureModes.of(phi).eigenvalues,
        rowwise=False,
    ),
    Formula(gradient_descent_path, _features, options={"n_iter": (1, 30)}, rowwise=False),
    Formula(
        gradient_descent_path, _features, variant="momentum", options={"n_iter": (30,), "momentum": 0.9}, rowwise=False
    ),
    Formula(sgd_noise_floor, _features, options={"lr": 0.1, "batch_size": 2}, rowwise=False),
    Formula(
        preconditioned_condition_number,
        lambda source, n: (_features(source, n)[0], torch.rand(4, generator=source, dtype=torch.float64) + 0.5),
        rowwise=False,
    ),
    Formula(
        find_peak,
        lambda source, n: (torch.rand(n, generator=source, dtype=torch.float64) + 0.5,),
        run=lambda curve: find_peak((1, 2, 3, 4, 5, 6), curve),
        rowwise=False,
    ),
    Formula(GradientDescent, _features, run=_by(GradientDescent(9)), rowwise=False),
    Formula(LeastSquares, _features, run=_by(LeastSquares()), rowwise=False, tolerance=1e-3),
    Formula(StochasticGradientDescent, _features, run=_by(StochasticGradientDescent(9, 2)), rowwise=False),
    Formula(AdamDescent, _features, run=_by(AdamDescent(9)), rowwise=False, tolerance=1e-2),
    Formula(
        (RandomFeatureModel, FeatureRegression),
        _features,
        run=lambda x, y: RandomFeatureModel(GradientDescent(9))(5, x, y)(x),
        rowwise=False,
    ),
    Formula(TwoLayerModel, _features, run=lambda x, y: TwoLayerModel(n_iter=3)(5, x, y)(x).detach(), rowwise=False),
    Formula((double_descent_curve, factor_study), _regression, run=_heights, rowwise=False, tolerance=1e-3),
)
