import torch
from torch import nn

from assay.core import HessianOperator, cross_entropy, isolated_rng, symmetric_eigenpairs, symmetric_eigenvalues


def test_a_matrix_whose_eigenvalues_are_almost_all_zero_is_solved():
    x, y = torch.full((6, 16), 0.5), torch.tensor([0, 1, 2] * 2)
    for seed in range(60):  # PyTorch's solver in float32 fails on one in fourteen of these
        with isolated_rng(seed):
            network = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        matrix = HessianOperator(network, x, y, cross_entropy).to_dense()
        exact = torch.linalg.eigvalsh((matrix + matrix.T).double() / 2)
        torch.testing.assert_close(symmetric_eigenvalues(matrix).double(), exact, atol=1e-6, rtol=1e-6)
        values, vectors = symmetric_eigenpairs(matrix)
        torch.testing.assert_close((vectors * values) @ vectors.T, (matrix + matrix.T) / 2, atol=1e-6, rtol=1e-5)


def test_batches_half_precision_and_rounding_between_the_triangles():
    matrices = torch.tensor([[[2.0, 1.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 1.0]]])
    assert symmetric_eigenvalues(matrices.half()).dtype == torch.float32
    assert symmetric_eigenvalues(matrices.half()).tolist() == [[1.0, 3.0], [0.0, 1.0]]
    uneven = torch.tensor([[2.0, 1.5], [0.5, 2.0]], dtype=torch.float64)
    assert symmetric_eigenvalues(uneven).tolist() == [1.0, 3.0]
