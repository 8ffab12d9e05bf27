import pytest
import torch

from assay.core import DenseOperator, HessianOperator, InvalidInputError, cross_entropy, seeded
from assay.landscape import SpectralDensity, spectral_density


def test_moments_are_the_quadratic_forms_of_the_probes(planted):
    # m steps integrate polynomials up to degree 2m - 1 exactly: here 5.
    matrix, _ = planted
    density = spectral_density(DenseOperator(matrix), n_iter=3, probes=4, generator=seeded(0))
    signs = 2.0 * torch.randint(0, 2, (300, 4), generator=seeded(0)) - 1
    power = signs.double()
    for order in range(1, 6):
        power = matrix @ power
        expected = (signs * power).sum(0).mean() / 300
        assert density.moment(order) == pytest.approx(expected.item(), rel=1e-10)


def test_moments_of_a_network_within_three_percent_of_dense(net, data):
    # The variance of a random-sign estimate of tr(A) is 2 (|A|_F^2 - |diag A|^2); as many probes are drawn as put
    # 3% at 3.29 standard errors: the test fails by chance once in a thousand seeds.
    matrix = HessianOperator(net, *data, cross_entropy).to_dense()
    matrix = (matrix + matrix.T) / 2
    needed = max(probes_for(matrix), probes_for(matrix @ matrix))
    density = spectral_density(DenseOperator(matrix), n_iter=4, probes=needed, generator=seeded(0))
    assert density.moment(1) == pytest.approx(matrix.trace().item() / 132, rel=0.03)
    assert density.moment(2) == pytest.approx(matrix.square().sum().item() / 132, rel=0.03)
    assert density.moment_error(1) * 132 < 0.03 * matrix.trace().item() / 3


def probes_for(matrix, tolerance=0.03, deviations=3.29):
    variance = 2 * (matrix.square().sum() - matrix.diagonal().square().sum())
    return int((deviations**2 * variance / (tolerance * matrix.trace()) ** 2).ceil())


def test_density_integrates_to_one_and_is_the_kernel_sum(planted):
    matrix, eigenvalues = planted
    density = spectral_density(DenseOperator(matrix), n_iter=40, probes=5)
    points = torch.linspace(-3, 12, 20001, dtype=torch.float64)
    assert torch.trapezoid(density(points), points).item() == pytest.approx(1.0, abs=1e-6)
    assert density.width == pytest.approx(0.01 * (eigenvalues[-1] - eigenvalues[0]).item(), rel=1e-3)

    exact = SpectralDensity(eigenvalues[None], torch.full((1, 300), 1 / 300, dtype=torch.float64), 0.1)
    normal = torch.distributions.Normal(eigenvalues, 0.1)
    expected = normal.log_prob(points[:, None]).exp().mean(1)
    torch.testing.assert_close(exact(points), expected)


def test_fraction_within_agrees_with_the_planted_bulk(planted):
    # Each outlier takes about 1/300 of the mass; over 200 probes its share is uncertain by about 1/300/sqrt(100).
    density = spectral_density(DenseOperator(planted[0]), n_iter=30, probes=200)
    assert density.fraction_within(0.06) == pytest.approx(297 / 300, abs=5 / 300 / 10)
    assert density.fraction_within(100.0) == pytest.approx(1.0)


def test_identity_has_one_peak_of_finite_width():
    density = spectral_density(DenseOperator(3 * torch.eye(20, dtype=torch.float64)), n_iter=5, probes=2)
    assert density.width == pytest.approx(0.03)
    torch.testing.assert_close(density.nodes, torch.full_like(density.nodes, 3.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_iter": 0}, "n_iter"),
        ({"probes": 0}, "probes"),
        ({"kernel_width": 0.0}, "kernel_width"),
        ({"kernel_width": float("nan")}, "kernel_width"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InvalidInputError, match=message):
        spectral_density(DenseOperator(torch.eye(4)), **options)


def test_one_probe_does_not_show_its_error():
    density = spectral_density(DenseOperator(torch.eye(4)), probes=1)
    with pytest.raises(InvalidInputError, match="two probes"):
        density.moment_error(1)


def test_plot_draws_the_density(planted):
    axes = spectral_density(DenseOperator(planted[0]), n_iter=10, probes=2).plot()
    assert len(axes.lines[0].get_xdata()) == 2000
