"""The rows of `assay.landscape`."""

from functools import partial

import matplotlib.pyplot
import torch

from assay.core import DenseOperator, HessianOperator, as_generator, check_samples, cross_entropy
from assay.landscape import (
    SpectralDensity,
    factor_eigenvalues,
    gauss_newton_decomposition,
    gauss_newton_factor,
    gradient_covariance_alignment,
    hessian_spectrum,
    hutch_plus_plus,
    lanczos,
    linear_path,
    spectral_density,
    top_eigenpairs,
)
from assay.landscape.learning_rates import LanczosLR, estimate_hessian_noise, polyak_heavy_ball
from assay.landscape.opposing import (
    OpposingLinearModel,
    SplitSGD,
    find_opposing_groups,
    last_layer_inputs,
    make_opposing_outliers,
    per_sample_loss_change,
    track_opposing,
)
from assay.landscape.regions import (
    Plane,
    directional_margin,
    fragmentation_score,
    path_class_changes,
    plane_predictions,
    plot_decision_regions,
    reproducibility_matrix,
    reproducibility_score,
    sample_planes,
    width_study,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Optimizer, Sampler, Scheduler
from helpers.rows.subjects import classifier


def _by_lanczos(model, x, y, generator, batch_size=64):
    options = {"method": "lanczos", "probes": 2, "generator": generator, "batch_size": batch_size}
    report = hessian_spectrum(model, x, y, loss=cross_entropy, n_iter=25, **options)
    # The smallest points have not converged, and differ by rounding.
    return report.eigenvalues[:2].clone(), report.density.moment(1)


def _lanczos(model, x, y, generator):
    operator = HessianOperator(model, x, y, cross_entropy)
    start = torch.randn(operator.shape[0], 2, generator=generator, dtype=torch.float64).to(x)
    found = lanczos(operator, start, n_iter=5, generator=generator)
    return found.diagonal, found.off_diagonal


def _trace(model, x, y, generator):
    found = hutch_plus_plus(HessianOperator(model, x, y, cross_entropy), products=9, generator=generator)
    return found.value, found.error


def _top(model, x, y, generator):
    values, vectors = top_eigenpairs(HessianOperator(model, x, y, cross_entropy), 2, generator=generator)
    return values, vectors.abs()  # an eigenvector is known up to its sign


def _linear_path(model, x, y, generator, batch_size=256):
    other = classifier().to(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.neg_()
    report = linear_path(model, other, x, y, loss=cross_entropy, n=3, batch_size=batch_size)
    return report.losses.to(x.dtype), report.distance  # mean losses are averaged in float64 whatever the inputs


def _gauss_newton(model, x, y, generator, batch_size=64):
    factor = gauss_newton_factor(model, x, y, loss=cross_entropy, batch_size=batch_size)
    return factor.T @ factor  # a factor is known up to a rotation


def _hessian_noise(model, x, y, generator):
    samples, labels = torch.cat([x, x, x, x]), torch.cat([y, y, y, y])  # a set of one sample has no batches
    options = {"batch_size": 3, "n_batches": 3, "n_iter": 12, "generator": generator}
    found = estimate_hessian_noise(model, samples, labels, loss=cross_entropy, **options)
    return found.largest, found.batch_largest, found.q


def _nodes_drawn(generator, n):
    matrix = torch.diag(torch.arange(9, dtype=torch.float64)) + 0.1
    return spectral_density(DenseOperator(matrix), n_iter=4, probes=n, generator=generator).weights


def _density(source, n):
    points = torch.randn(n, generator=source, dtype=torch.float64)
    nodes, weights = torch.rand(2, 3, 4, generator=as_generator(source), dtype=torch.float64)
    return points, nodes, weights / weights.sum(1, keepdim=True)


def _plane(x):
    total = check_samples(x).sum(0)
    return Plane(total, -total, total.flip(0) + total.norm())


def _plane_predictions(model, x, y, generator, batch_size=64):
    samples = torch.cat([x, -x, x.flip(0) + 1])
    planes = sample_planes(samples, n=2, generator=generator)
    return plane_predictions(model, planes, resolution=5, batch_size=batch_size)


def _margins(model, x, y, generator, batch_size=64):
    deltas = torch.linspace(0.1, 3, 8)
    found = directional_margin(model, x, x, n_directions=3, deltas=deltas, generator=generator, batch_size=batch_size)
    return found.hits


def _class_changes(model, x, y, generator, batch_size=64):
    return path_class_changes(model, x, 1 - x, n=9, batch_size=batch_size)


def _map(model, x, y, generator, batch_size=64):
    axes = plot_decision_regions(_plane(x), model, resolution=5, batch_size=batch_size)
    matplotlib.pyplot.close(axes.figure)
    return torch.as_tensor(axes.get_images()[0].get_array().data).to(x.dtype)


def _width_study(model, x, y, generator, batch_size=64):
    options = {"resolution": 5, "batch_size": batch_size, "generator": generator}
    return width_study(lambda width, source: model, (1, 2), [_plane(x)], **options).fragmentation.to(x.dtype)


def _maps(source, n):
    return tuple(torch.randint(3, (n, 4, 4), generator=source) for _ in range(2))


def _triplet(source, n):
    return tuple(torch.randn(n, generator=source, dtype=torch.float64) for _ in range(3))


def _planes_drawn(generator, n):
    x = torch.linspace(0, 1, 40, dtype=torch.float64).reshape(8, 5).sin()
    return torch.stack([plane.coords for plane in sample_planes(x, n=n, generator=generator)])


def _loss_change(model, x, y, generator, batch_size=64):
    after = classifier().to(x)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.mul_(1.1)
    return per_sample_loss_change(model, after, x, y, loss=cross_entropy, batch_size=batch_size)


def _track(model, x, y, generator):
    sgd = partial(torch.optim.SGD, lr=0.5)
    found = track_opposing(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=4, generator=generator)
    return found.losses, found.rising, found.falling


def _linear_model(source, n):
    model = OpposingLinearModel(torch.randn(3, generator=source, dtype=torch.float64), d2=4)
    return (torch.stack([model.balanced_start(generator=source) for _ in range(n)]),)


def _linear_losses(theta):
    model = OpposingLinearModel(torch.tensor([3.0, 1.0, -1.0]).to(theta), d2=4)
    return torch.stack([torch.stack([model.loss(each), model.sharpness(each)]) for each in theta])


def _split_step(theta, gradient, lr):
    large = gradient.abs() > gradient.abs().sort().values[1]
    return theta - torch.where(large, lr / 100 * gradient.sign(), lr * gradient)


ROWS = (
    Analysis(per_sample_loss_change, run=_loss_change),
    Analysis(find_opposing_groups, options={"lr": 0.5}),
    Analysis(find_opposing_groups, variant="along the eigenvector", options={"direction": "eigenvector", "lr": 0.1}),
    Analysis(track_opposing, run=_track),
    Analysis(last_layer_inputs),
    Formula(OpposingLinearModel, _linear_model, run=_linear_losses, refuses=("axis", "empty")),
    Sampler(
        make_opposing_outliers,
        lambda generator, n: make_opposing_outliers(n, d=3, n_outliers=0, generator=generator).x,
        (3,),
    ),
    Optimizer(SplitSGD, _split_step, options={"lr": 0.1, "threshold": 0.5, "momentum": 0.0, "dampening": 0.0}),
    Analysis(hessian_spectrum),
    Analysis(hessian_spectrum, variant="by Lanczos", run=_by_lanczos, random=True),
    Analysis(lanczos, run=_lanczos, random=True),
    Analysis(hutch_plus_plus, run=_trace, random=True),
    Analysis(top_eigenpairs, run=_top),
    Analysis(gauss_newton_decomposition),
    Analysis(gauss_newton_factor, run=_gauss_newton),
    Analysis(gradient_covariance_alignment, options={"k": 1}),
    Analysis(linear_path, run=_linear_path),
    Sampler(spectral_density, _nodes_drawn, (4,)),
    Formula(SpectralDensity, _density, run=lambda points, nodes, weights: SpectralDensity(nodes, weights, 0.5)(points)),
    Formula(
        factor_eigenvalues,
        lambda source, n: (torch.randn(n, 4, generator=source).double(),),
        rowwise=False,
    ),
    Analysis(estimate_hessian_noise, run=_hessian_noise, random=True),
    Scheduler(
        LanczosLR,
        lambda t: polyak_heavy_ball(1.0, 9.0)[0] / 0.5,  # over the largest of the groups' rates
        options={"curvature": DenseOperator(torch.diag(torch.tensor([1.0, 9.0]).double())), "every": 4, "margin": 1.0},
    ),
    Analysis(plane_predictions, run=_plane_predictions, random=True),
    Analysis(directional_margin, run=_margins),
    Analysis(path_class_changes, run=_class_changes),
    Analysis(plot_decision_regions, run=_map),
    Analysis(width_study, run=_width_study),
    Sampler(sample_planes, _planes_drawn, (3, 2)),
    Formula(Plane, _triplet, run=lambda *samples: Plane(*samples).grid(3)[0], rowwise=False, refuses=("rows", "empty")),
    Formula(
        reproducibility_score, _maps, run=lambda a, b: reproducibility_score(a, b).per_plane, refuses=("rows", "empty")
    ),
    Formula(
        reproducibility_matrix,
        _maps,
        run=lambda a, b: reproducibility_matrix({"one": [a, b]}).scores,
        rowwise=False,
        refuses=("rows", "empty"),
    ),
    Formula(
        fragmentation_score, lambda source, n: _maps(source, n)[:1], run=lambda a: fragmentation_score(a).per_plane
    ),
)
