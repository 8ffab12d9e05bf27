"""Diffusion entropy beside closed forms, the eigenvalues of the Markov matrix, and its own estimate."""

import math

import pytest
import torch

from assay.core import DenseOperator, InvalidInputError, NumericalError, seeded
from assay.representation import diffusion_spectral_entropy
from assay.representation.diffusion_entropy import (
    GaussianKernelOperator,
    diffusion_eigenvalues,
    diffusion_time,
    median_bandwidth,
)
from assay.representation.diffusion_entropy.quadrature import estimated_entropy, spectral_entropy


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=seeded(seed), dtype=torch.float64)


def entropy(x, **options):
    return float(diffusion_spectral_entropy(x, **options))


@pytest.mark.parametrize("normalization", ["symmetric", "markov", "none"])
def test_eigenvalues_are_those_of_the_matrices_of_the_definition(normalization):
    x = draw(60, 5)
    g = torch.exp(-torch.cdist(x, x).square() / 2)
    k = g / torch.outer(g.sum(1), g.sum(1)).sqrt()
    matrix = {"symmetric": g / g.sum(1, keepdim=True), "markov": k / k.sum(1, keepdim=True), "none": g}[normalization]
    expected = torch.linalg.eigvals(matrix).real.sort(descending=True).values
    found = diffusion_eigenvalues(x, sigma=1.0, normalization=normalization)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    shares = expected.abs() ** 2 / (expected.abs() ** 2).sum()
    value = entropy(x, sigma=1.0, t=2, normalization=normalization)
    assert value == pytest.approx(float(-(shares * shares.log2()).sum()), abs=1e-10)


def test_closed_forms():
    clusters = 1e3 * torch.eye(5, dtype=torch.float64)[torch.arange(200) % 5]
    assert entropy(clusters) == pytest.approx(math.log2(5), abs=1e-8)
    assert entropy(clusters[:10].repeat(1, 2)) == pytest.approx(math.log2(5), abs=1e-8)
    assert entropy(torch.ones(50, 3)) == pytest.approx(0, abs=1e-10)
    assert entropy(1e4 * torch.eye(64)) == pytest.approx(6, abs=1e-10)
    assert entropy(clusters + 5 * draw(200, 5), t=4000) == pytest.approx(math.log2(5), abs=1e-6)


def test_entropy_knows_distances_relative_to_the_bandwidth_alone():
    x = draw(80, 6)
    turned = torch.linalg.qr(draw(6, 6, 1)).Q
    moved = 3 * (x.flip(0) @ turned + 7)
    assert entropy(x, sigma=1.0) == pytest.approx(entropy(moved, sigma=3.0), abs=1e-9)
    assert entropy(x, sigma="median") == pytest.approx(entropy(moved, sigma="median"), abs=1e-9)


def test_the_operator_is_the_kernel_matrix_whatever_its_blocks():
    x = draw(30, 4)
    kernel = torch.exp(-torch.cdist(x, x).square() / 8)
    for batch_size in (7, 30):
        operator = GaussianKernelOperator(x, 2.0, batch_size=batch_size)
        torch.testing.assert_close(operator.to_dense(), kernel)


@pytest.mark.parametrize("t", [1, 3])
@pytest.mark.parametrize("normalization", ["symmetric", "markov"])
def test_the_estimate_is_within_its_error_of_all_eigenvalues(normalization, t):
    x, options = draw(600, 3), {"sigma": 0.5, "t": t, "normalization": normalization}
    exact = diffusion_spectral_entropy(x, method="dense", **options)
    assert exact.error == 0
    gaps = []
    for seed in range(3):
        found = diffusion_spectral_entropy(x, method="lanczos", generator=seeded(seed), **options)
        assert 0 < found.error < 0.05
        gaps.append((found.value - exact.value) / found.error)
    # The largest of three exceeds 4 of Student's deviations with 22 degrees of freedom once in 500 times.
    assert max(map(abs, gaps)) < 4


def test_the_stated_error_is_that_of_repetitions():
    spectrum = torch.rand(300, generator=seeded(3), dtype=torch.float64) ** 8
    basis = torch.linalg.qr(draw(300, 300, 4)).Q
    matrix = basis * spectrum @ basis.T
    operator = DenseOperator((matrix + matrix.T) / 2)
    options = {"t": 1.0, "n_iter": 30, "probes": 12, "rank": 10}
    found = [estimated_entropy(operator, float(spectrum.sum()), generator=seeded(s), **options) for s in range(30)]
    gaps = torch.tensor([estimate.value for estimate in found]) - float(spectral_entropy(spectrum, 1))
    stated = torch.tensor([estimate.error for estimate in found])
    # The root mean square of 30 standardised gaps lies within 0.6 to 1.5 of the truth in 99.9 % of all cases.
    assert 0.6 < float((gaps / stated).square().mean().sqrt()) < 1.5


def test_above_the_limit_the_estimate_is_taken():
    x = 1e3 * torch.eye(5)[torch.arange(2005) % 5]
    found = diffusion_spectral_entropy(x, n_iter=6, probes=4, rank=8)
    assert found.method == "lanczos"
    assert found.value == pytest.approx(math.log2(5), abs=1e-8)


def test_a_bandwidth_that_sees_nothing_is_named():
    x = draw(50, 3)
    assert diffusion_spectral_entropy(x, sigma=1e-3).saturation == "apart"
    assert "widen" in str(diffusion_spectral_entropy(x, sigma=1e-3))
    assert diffusion_spectral_entropy(x, sigma=1e3).saturation == "together"
    assert "narrow" in str(diffusion_spectral_entropy(x, sigma=1e3))
    assert diffusion_spectral_entropy(x, sigma=1.0).saturation == "none"


def test_time_of_the_rule_of_thumb():
    values = torch.tensor([1.0, *199 * [0.5]])
    t = diffusion_time(values)
    assert (values**t > 0.01).double().mean() <= 0.01
    assert (values ** (t - 1) > 0.01).double().mean() > 0.01
    assert diffusion_time(torch.ones(5)) == 1


def test_median_bandwidth_is_the_median_of_all_pairs():
    x = draw(31, 3)
    assert median_bandwidth(x) == pytest.approx(float(torch.pdist(x).median()))
    assert median_bandwidth(x[:1]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "sigma must be"),
        ({"t": 0}, "t must be"),
        ({"method": "lanczos", "probes": 2, "n_iter": 4}, "probes must be"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidInputError, match=message):
        diffusion_spectral_entropy(draw(20, 2), **options)


def test_without_a_median_or_a_distance_there_is_no_answer():
    with pytest.raises(InvalidInputError, match="coincide"):
        diffusion_spectral_entropy(torch.ones(5, 2), sigma="median")
    with pytest.raises(NumericalError):
        diffusion_spectral_entropy(1e200 * draw(5, 2))
    with pytest.raises(InvalidInputError, match="zero"):
        diffusion_time(torch.zeros(3))
