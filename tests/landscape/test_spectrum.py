import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian

from assay.core import (
    InvalidInputError,
    cross_entropy,
    flatten,
    named_parameters,
    seeded,
    squared_error,
    unflatten,
)
from assay.landscape import hessian_spectrum


def dense_hessian(model, x, y, loss):
    params = named_parameters(model)
    return hessian(lambda v: loss(functional_call(model, unflatten(v, params), (x,)), y))(flatten(params))


def test_dense_report_is_counted_from_the_true_spectrum(net, data):
    expected = torch.linalg.eigvalsh(dense_hessian(net, *data, cross_entropy)).flip(0)
    report = hessian_spectrum(net, *data, loss=cross_entropy)
    assert report.method == "dense"
    torch.testing.assert_close(report.eigenvalues, expected, rtol=1e-10, atol=1e-10)
    assert report.n_outliers == sum(value > 0.1 * expected[0] for value in expected)
    assert report.bulk_fraction == pytest.approx((expected.abs() < 1e-3 * expected[0]).double().mean().item())
    assert report.lambda_min == pytest.approx(expected[-1].item())
    ratios = [expected[k] / expected[k + 1] for k in range(6)]
    assert report.gap_index == ratios.index(max(ratios)) + 1
    assert report.density.moment(1) == pytest.approx(expected.mean().item())


def test_float32_agrees_with_float64(net, data):
    x, y = data
    expected = hessian_spectrum(net, x, y, loss=cross_entropy).eigenvalues.float()
    report = hessian_spectrum(copy.deepcopy(net).float(), x.float(), y, loss=cross_entropy)
    torch.testing.assert_close(report.eigenvalues, expected, rtol=1e-5, atol=1e-5)


def test_lanczos_agrees_with_dense(net, data):
    dense = hessian_spectrum(net, *data, loss=cross_entropy, method="dense")
    report = hessian_spectrum(net, *data, loss=cross_entropy, method="lanczos", n_iter=60, probes=40)
    assert report.n_outliers == dense.n_outliers
    assert report.gap_index == dense.gap_index
    assert report.lambda_max == pytest.approx(dense.lambda_max, rel=1e-8)
    assert report.lambda_min == pytest.approx(dense.lambda_min, rel=1e-8)
    # 132 eigenvalues and 40 probes: four standard errors of a share near 1/2.
    spread = 4 * (0.25 * 2 / 132 / 40) ** 0.5
    assert report.bulk_fraction == pytest.approx(dense.bulk_fraction, abs=spread)


def test_lanczos_sees_outliers_and_gap_where_the_bulk_is_not_resolved():
    # Least squares: H = 2 X^T X / n, with three outliers and a bulk of 397 below 1 that 40 steps cannot tell apart.
    source = seeded(0)
    left, right = (torch.linalg.qr(torch.randn(400, 400, generator=source, dtype=torch.float64))[0] for _ in range(2))
    spectrum = torch.cat([torch.tensor([100.0, 30.0, 20.0]), 0.5 + 0.5 * torch.rand(397, generator=source)]).double()
    x = left * (200 * spectrum).sqrt() @ right.T
    report = hessian_spectrum(
        nn.Linear(400, 1, bias=False).double(), x, torch.zeros(400), loss=squared_error, method="lanczos", n_iter=40
    )
    torch.testing.assert_close(report.eigenvalues[:3], spectrum[:3])
    assert (report.n_outliers, report.gap_index) == (3, 3)
    assert 3 < len(report.eigenvalues) < 40
    assert report.lambda_min == pytest.approx(spectrum.min().item(), rel=0.05)


def test_linear_least_squares_has_the_rank_and_spectrum_of_the_data():
    x = torch.randn(5, 8, generator=seeded(0), dtype=torch.float64)
    model = nn.Linear(8, 1, bias=False).double()
    report = hessian_spectrum(model, x, torch.zeros(5), loss=squared_error)
    torch.testing.assert_close(report.eigenvalues[:5], 2 * torch.linalg.svdvals(x).square() / 5)
    assert report.eigenvalues[5:].abs().max() < 1e-12
    assert report.bulk_fraction == pytest.approx(3 / 8)


def test_gap_is_where_the_rank_ends():
    # Two outputs of one input: H = 2 x^2 I_2 on the first column of W, zero on the second.
    model = nn.Linear(2, 2, bias=False).double()
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    report = hessian_spectrum(model, x, torch.zeros(1, 2, dtype=torch.float64), loss=squared_error)
    assert (report.n_outliers, report.gap_index, report.bulk_fraction) == (2, 2, 0.5)


def test_flat_loss_is_all_bulk():
    model = nn.Linear(3, 1, bias=False).double()
    for method in ("dense", "lanczos"):
        report = hessian_spectrum(
            model, torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2), loss=squared_error, method=method
        )
        assert (report.n_outliers, report.gap_index, report.lambda_max) == (0, 0, 0.0)
        assert report.bulk_fraction == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_unequal_batches_change_nothing(net, data, method):
    whole, chunked = (
        hessian_spectrum(net, *data, loss=cross_entropy, method=method, n_iter=20, probes=2, batch_size=size)
        for size in (None, 37)
    )
    torch.testing.assert_close(chunked.eigenvalues[:5], whole.eigenvalues[:5])


def test_too_few_steps_are_an_error_not_a_number(net, data):
    with pytest.raises(InvalidInputError, match="raise n_iter"):
        hessian_spectrum(net, *data, loss=cross_entropy, method="lanczos", n_iter=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact"}, "method"),
        ({"outlier_threshold": 1.5}, "outlier_threshold"),
        ({"bulk_threshold": 0.0}, "bulk_threshold"),
        ({"kernel_width": -1.0}, "kernel_width"),
        ({"method": "lanczos", "n_iter": 0}, "n_iter"),
        ({"method": "lanczos", "probes": 0}, "probes"),
    ],
)
def test_bad_options(net, data, options, message):
    with pytest.raises((InvalidInputError, TypeError)) as caught:
        hessian_spectrum(net, *data, loss=cross_entropy, **options)
    assert message in str(caught.value)


def test_bad_data(net, data):
    x, y = data
    with pytest.raises(InvalidInputError, match="non-empty"):
        hessian_spectrum(net, x[:0], y[:0], loss=cross_entropy)
    with pytest.raises(InvalidInputError, match="align"):
        hessian_spectrum(net, x, y[:-1], loss=cross_entropy)
    with pytest.raises(InvalidInputError, match="does not accept"):
        hessian_spectrum(net, x[:, :4], y, loss=cross_entropy)
    with pytest.raises(InvalidInputError, match="NaN"):
        hessian_spectrum(net, x / 0, y, loss=cross_entropy)


def test_one_paragraph_and_a_picture(net, data):
    report = hessian_spectrum(net, *data, loss=cross_entropy)
    assert f"{report.n_outliers} exceed 0.1" in str(report)
    assert "\n" not in str(report)
    marks = report.plot().lines[1]
    assert len(marks.get_xdata()) == report.n_outliers
