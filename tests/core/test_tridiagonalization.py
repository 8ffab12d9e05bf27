import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh

from assay.core import DenseOperator, InvalidInputError, lanczos, seeded, sign_probes


@pytest.fixture
def planted():
    """A 300 x 300 matrix with three outliers on a bulk in [-0.05, 0.05], and its eigenvalues."""
    source = seeded(2)
    basis = torch.linalg.qr(torch.randn(300, 300, generator=source, dtype=torch.float64))[0]
    bulk = 0.1 * torch.rand(297, generator=source, dtype=torch.float64) - 0.05
    eigenvalues = torch.cat([bulk, torch.tensor([2.0, 5.0, 9.0], dtype=torch.float64)]).sort().values
    matrix = basis * eigenvalues @ basis.T
    return (matrix + matrix.T) / 2, eigenvalues


def symmetric(size, seed):
    matrix = torch.randn(size, size, generator=seeded(seed), dtype=torch.float64)
    return (matrix + matrix.T) / 2


def columns(size, k, seed=5):
    return torch.randn(size, k, generator=seeded(seed), dtype=torch.float64)


@settings(max_examples=20)
@given(size=st.integers(1, 12), k=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_all_steps_give_all_eigenvalues(size, k, seed):
    matrix = symmetric(size, seed)
    values, weights, _ = lanczos(DenseOperator(matrix), columns(size, k, seed), n_iter=size).ritz()
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrix).expand(k, size))
    torch.testing.assert_close(weights.sum(1), torch.ones(k, dtype=torch.float64))


def test_planted_outliers_match_dense_and_scipy(planted):
    matrix, eigenvalues = planted
    operator = DenseOperator(matrix)
    values, _, bounds = lanczos(operator, columns(300, 2), n_iter=30).ritz()
    torch.testing.assert_close(values[:, -3:], eigenvalues[-3:].expand(2, 3))
    scipy_top = torch.as_tensor(eigsh(operator.to_scipy(), k=3, v0=columns(300, 1).numpy())[0])
    torch.testing.assert_close(values[0, -3:], scipy_top)
    assert (bounds[:, -3:] < 1e-6).all()


def test_no_ghost_copies_long_after_convergence(planted):
    # Plain Lanczos repeats the outliers here: its vectors lose orthogonality once they have converged.
    matrix, eigenvalues = planted
    values, _, _ = lanczos(DenseOperator(matrix), columns(300, 1), n_iter=200).ritz()
    assert (values > 1.0).sum() == 3
    assert (plain_lanczos(matrix, columns(300, 1)[:, 0], 200) > 1.0).sum() > 3
    torch.testing.assert_close(values[0, -3:], eigenvalues[-3:])


def plain_lanczos(matrix, vector, steps):
    diagonal, off_diagonal = [], []
    vector, previous, length = vector / vector.norm(), torch.zeros_like(vector), 0.0
    for _ in range(steps):
        following = matrix @ vector - length * previous
        diagonal.append(following @ vector)
        following = following - diagonal[-1] * vector
        length = following.norm()
        off_diagonal.append(length)
        previous, vector = vector, following / length
    off = torch.stack(off_diagonal[:-1])
    return torch.linalg.eigvalsh(torch.diag(torch.stack(diagonal)) + torch.diag(off, 1) + torch.diag(off, -1))


def test_bounds_hold_before_convergence(planted):
    matrix, eigenvalues = planted
    values, _, bounds = lanczos(DenseOperator(matrix), columns(300, 3), n_iter=6).ritz()
    distance = (values[..., None] - eigenvalues).abs().amin(-1)
    assert (bounds > 1e-3).any()
    assert (distance <= bounds + 1e-12).all()


def test_repeated_eigenvalues_are_found_past_an_exhausted_space():
    spectrum = torch.tensor([1.0, 1.0, 1.0, 4.0, 4.0], dtype=torch.float64)
    values, weights, _ = lanczos(DenseOperator(torch.diag(spectrum)), columns(5, 2), n_iter=5).ritz()
    torch.testing.assert_close(values, spectrum.expand(2, 5))
    # The quadrature still knows only what the probe saw: v_j^2 summed over each eigenspace.
    probe = columns(5, 2) / columns(5, 2).norm(dim=0)
    torch.testing.assert_close(weights[:, :3].sum(1), probe[:3].square().sum(0))


def test_zero_operator():
    values, _, bounds = lanczos(DenseOperator(torch.zeros(4, 4, dtype=torch.float64)), columns(4, 2), n_iter=4).ritz()
    assert values.abs().max() == 0
    assert bounds.max() == 0


@pytest.mark.parametrize(
    ("probes", "n_iter", "message"),
    [
        (torch.ones(3, 1), 2, "columns of shape"),
        (torch.ones(4, dtype=torch.float64), 2, "columns of shape"),
        (torch.zeros(4, 1, dtype=torch.float64), 2, "not zero"),
        (torch.ones(4, 0, dtype=torch.float64), 2, "there must be one"),
        (torch.ones(4, 1, dtype=torch.float64), 0, "n_iter must be a whole number of at least 1"),
    ],
)
def test_bad_input(probes, n_iter, message):
    with pytest.raises((InvalidInputError, TypeError), match=message if probes.ndim == 2 else None):
        lanczos(DenseOperator(torch.eye(4, dtype=torch.float64)), probes, n_iter=n_iter)


def test_sign_probes_estimate_the_trace_of_a_diagonal_matrix_exactly():
    values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    signs = sign_probes(DenseOperator(torch.diag(values)), 4, seeded(0))
    assert ((signs**2) == 1).all()
    torch.testing.assert_close((signs * (values[:, None] * signs)).sum(0), values.sum().expand(4))
