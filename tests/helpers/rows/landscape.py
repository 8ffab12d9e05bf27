"""The rows of `assay.landscape`."""

import torch

from assay.core import cross_entropy
from assay.landscape import gauss_newton_decomposition, gradient_covariance_alignment, hessian_spectrum, linear_path
from helpers.rows.base import Row, classifier


def _hessian_spectrum(model, x, y, generator, **options):
    report = hessian_spectrum(model, x, y, loss=cross_entropy, generator=generator, **options)
    counts = torch.tensor([report.n_outliers, report.gap_index], device=x.device)
    return {"eigenvalues": report.eigenvalues, "counts": counts}


def _hessian_spectrum_by_lanczos(model, x, y, generator, **options):
    report = hessian_spectrum(
        model, x, y, loss=cross_entropy, method="lanczos", n_iter=40, probes=2, generator=generator, **options
    )
    return {"largest": report.eigenvalues[:2], "mean": report.eigenvalues.new_tensor([report.density.moment(1)])}


def _gauss_newton_decomposition(model, x, y, generator, **options):
    parts = gauss_newton_decomposition(model, x, y, loss=cross_entropy, **options)
    return {"gauss_newton": parts.gauss_newton, "residual": parts.residual}


def _gradient_covariance_alignment(model, x, y, generator, **options):
    report = gradient_covariance_alignment(model, x, y, loss=cross_entropy, k=1, **options)
    return {"angles": report.angles, "eigenvalues": report.gauss_newton_eigenvalues}


def _linear_path(model, x, y, generator, **options):
    other = classifier().to(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.neg_()
    report = linear_path(model, other, x, y, loss=cross_entropy, n=3, **options)
    return {"losses": report.losses.to(x.dtype)}  # mean losses are averaged in float64 whatever the inputs


ROWS = (
    Row("hessian_spectrum", _hessian_spectrum, batch_option="batch_size"),
    Row("hessian_spectrum by Lanczos", _hessian_spectrum_by_lanczos, batch_option="batch_size"),
    Row("gauss_newton_decomposition", _gauss_newton_decomposition, batch_option="batch_size"),
    Row("gradient_covariance_alignment", _gradient_covariance_alignment, batch_option="batch_size"),
    Row("linear_path", _linear_path, batch_option="batch_size"),
)
