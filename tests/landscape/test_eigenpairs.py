import pytest
import torch

from assay.core import DenseOperator, HessianOperator, InvalidInputError, cross_entropy, seeded
from assay.landscape import spectral_density, top_eigenpairs
from assay.nets import mlp


@pytest.mark.parametrize("k", [1, 5, 15, 30])
def test_pairs_equal_the_dense_decomposition(k):
    source = torch.randn(30, 30, dtype=torch.float64, generator=seeded(0))
    matrix = source + source.T
    values, vectors = top_eigenpairs(DenseOperator(matrix), k)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrix).flip(0)[:k], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(matrix @ vectors, vectors * values, rtol=1e-4, atol=1e-4)
    with pytest.raises(InvalidInputError, match="at most 30"):
        top_eigenpairs(DenseOperator(matrix), 31)


def test_density_and_top_eigenvalues_of_a_network_of_three_thousand_parameters():
    x = torch.randn(60, 20, generator=seeded(0))
    model = mlp((20, 40, 40, 10), generator=seeded(1))
    operator = HessianOperator(model, x, torch.arange(60) % 10, cross_entropy)
    matrix = operator.to_dense(columns=256).double()
    exact = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    values, _ = top_eigenpairs(operator, 20)
    torch.testing.assert_close(values.double(), exact.flip(0)[:20], rtol=1e-3, atol=0.0)
    density = spectral_density(operator, n_iter=50, probes=4)
    for order in (1, 2, 3):
        error = density.moment_error(order)
        # Student's t with three degrees of freedom: 99.8%.
        assert abs(density.moment(order) - (exact**order).mean().item()) < 10.2 * error
