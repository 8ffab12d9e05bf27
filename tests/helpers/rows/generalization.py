"""The rows of `assay.generalization`."""

import torch

from assay.core import seeded
from assay.generalization import (
    QuantizedMLP,
    RandomFeatureModel,
    TwoLayerModel,
    double_descent_curve,
    enumerate_functions,
    factor_study,
    gradient_descent_path,
    guess_and_check,
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
from assay.generalization.interpolators import FunctionPrior
from helpers.rows.standalone import Formula, Sampler

NETWORK = QuantizedMLP((2, 2, 1))


def _fitting_weights(generator, n):
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = guess_and_check(NETWORK, x, torch.tensor([1, 0]), n_networks=n, generator=generator)
    return found.parameters


def _domain(source, n):
    return (torch.randn(n, 2, generator=source, dtype=torch.float64),)


def _teacher_probability(teacher):
    functions = torch.cartesian_prod(*len(teacher) * [torch.tensor([-1, 1])]).reshape(-1, len(teacher))
    prior = FunctionPrior(functions, torch.ones(len(functions), dtype=torch.long))
    return prior.teacher_probability(teacher)


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


DOUBLE_DESCENT = (
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

ROWS = (
    *DOUBLE_DESCENT,
    Sampler(guess_and_check, _fitting_weights, (9,)),
    Sampler(QuantizedMLP, lambda generator, n: NETWORK.sample(n, generator), (9,)),
    Formula(
        enumerate_functions,
        _domain,
        run=lambda x: enumerate_functions(QuantizedMLP((2, 1, 1)), x).counts,
        rowwise=False,
        refuses=("axis", "empty"),
    ),
    Formula(
        FunctionPrior,
        lambda source, n: (torch.randint(2, (min(n, 6),), generator=source),),
        run=_teacher_probability,
        rowwise=False,
        refuses=("axis",),
    ),
)
