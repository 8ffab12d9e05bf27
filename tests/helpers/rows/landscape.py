"""The rows of `assay.landscape`."""

import torch

from assay.core import DenseOperator, HessianOperator, as_generator, cross_entropy
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
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Sampler
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


def _nodes_drawn(generator, n):
    matrix = torch.diag(torch.arange(9, dtype=torch.float64)) + 0.1
    return spectral_density(DenseOperator(matrix), n_iter=4, probes=n, generator=generator).weights


def _density(source, n):
    points = torch.randn(n, generator=source, dtype=torch.float64)
    nodes, weights = torch.rand(2, 3, 4, generator=as_generator(source), dtype=torch.float64)
    return points, nodes, weights / weights.sum(1, keepdim=True)


ROWS = (
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
)
