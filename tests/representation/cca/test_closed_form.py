import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.cross_decomposition import CCA, PLSSVD

from assay.core import InvalidInputError, seeded
from assay.representation.cca import (
    canonical_correlations,
    cca_gep,
    closed_form_cca,
    gep_subspace,
    total_correlation_captured,
)


def views(n=200):
    source = seeded(0)
    shared = torch.randn(n, 2, generator=source, dtype=torch.float64)
    left = shared @ torch.randn(2, 5, generator=source, dtype=torch.float64)
    right = shared @ torch.randn(2, 4, generator=source, dtype=torch.float64)
    noise = [torch.randn(n, d, generator=source, dtype=torch.float64) for d in (5, 4)]
    return left + noise[0] + 3, right + noise[1]


@pytest.mark.parametrize("ridge", [0.0, 0.1, 1.0])
def test_eigenpairs_are_scipys(ridge):
    a, b = cca_gep(views(), ridge=ridge)
    found = gep_subspace(a, b, 3)
    values, vectors = scipy.linalg.eigh(a.numpy(), b.numpy())
    np.testing.assert_allclose(found.eigenvalues, values[::-1][:3], atol=1e-12)
    np.testing.assert_allclose(np.abs(found.vectors.numpy()), np.abs(vectors[:, ::-1][:, :3]), atol=1e-9)
    np.testing.assert_allclose(closed_form_cca(views(), 3, ridge=ridge).eigenvalues, values[::-1][:3], atol=1e-12)


def test_cca_is_scikit_learns():
    x, y = views()
    reference = CCA(3, max_iter=2000, tol=1e-12).fit(x.numpy(), y.numpy())
    scores = reference.transform(x.numpy(), y.numpy())
    wanted = [np.corrcoef(scores[0][:, k], scores[1][:, k])[0, 1] for k in range(3)]
    found = closed_form_cca((x, y), 3)
    np.testing.assert_allclose(found.eigenvalues, wanted, atol=1e-5)
    np.testing.assert_allclose(found.correlations((x, y)), wanted, atol=1e-5)
    np.testing.assert_allclose(canonical_correlations(x, y)[:3], wanted, atol=1e-5)
    z = found.transform((x, y))[0]
    torch.testing.assert_close(torch.cov(z.mT), torch.eye(3, dtype=torch.float64))


def test_pls_is_the_decomposition_of_the_cross_covariance():
    x, y = views()
    found = closed_form_cca((x, y), 2, ridge=1.0)
    reference = PLSSVD(2, scale=False).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(np.abs(found.weights[0].numpy()), np.abs(reference.x_weights_), atol=1e-10)
    cross = (x - x.mean(0)).mT @ (y - y.mean(0)) / (len(x) - 1)
    torch.testing.assert_close(found.eigenvalues, torch.linalg.svdvals(cross)[:2])


def test_correlations_do_not_change_under_invertible_maps_and_shifts():
    x, y = views()
    mixing = torch.randn(5, 5, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(canonical_correlations(x @ mixing - 7, 3 * y), canonical_correlations(x, y))


def test_a_repeated_column_adds_no_correlation():
    x, y = views()
    doubled = torch.cat([x[:, :2], x[:, :1]], 1)
    found = canonical_correlations(doubled, y)
    torch.testing.assert_close(found[:2], canonical_correlations(x[:, :2], y))
    assert float(found[2]) == 0
    torch.testing.assert_close(total_correlation_captured(doubled, y), found.sum())


def test_a_singular_constraint_is_solved_on_its_range():
    a = torch.diag(torch.tensor([2.0, 1.0, 5.0], dtype=torch.float64))
    b = torch.diag(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    assert gep_subspace(a, b, 2).eigenvalues.tolist() == pytest.approx([2.0, 1.0])
    with pytest.raises(InvalidInputError, match="rank 2"):
        gep_subspace(a, b, 3)


@pytest.mark.usefixtures("as_users_run_it")
def test_wrong_arguments_are_refused():
    x, y = views()
    eye = torch.eye(2)
    with pytest.raises(InvalidInputError, match="symmetric"):
        gep_subspace(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), eye, 1)
    with pytest.raises(InvalidInputError, match="semidefinite"):
        gep_subspace(eye, -eye, 1)
    with pytest.raises(InvalidInputError, match="square"):
        gep_subspace(eye, torch.eye(3), 1)
    with pytest.raises(InvalidInputError, match="n_components"):
        closed_form_cca((x, y), 5)
    with pytest.raises(InvalidInputError, match="whatever the data"):
        canonical_correlations(x[:9], y[:9])
    with pytest.raises(InvalidInputError, match="columns"):
        closed_form_cca((x, y), 2).transform((y, x))
