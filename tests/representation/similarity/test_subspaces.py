import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression

from assay.core import InvalidInputError, seeded
from assay.representation.similarity import (
    linear_regression_r2,
    matching_similarity,
    mean_cca,
    procrustes_similarity,
    pwcca,
    svcca,
)
from assay.representation.similarity.subspaces import basis_of


def pair(n=60, d=3, e=4, seed=0):
    generator = seeded(seed)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, e, generator=generator, dtype=torch.float64)
    return a, a @ torch.randn(d, e, generator=generator, dtype=torch.float64) + noise


def test_the_mean_canonical_correlation_is_that_of_scikit_learn():
    a, b = pair()
    first, second = CCA(3, max_iter=5000, tol=1e-10).fit_transform(a.numpy(), b.numpy())
    expected = [np.corrcoef(first[:, k], second[:, k])[0, 1] for k in range(3)]
    assert mean_cca(a, b) == pytest.approx(np.mean(expected), abs=1e-6)


def test_the_projection_weights_are_those_of_the_definition():
    a, b = pair()
    ac, bc = a - a.mean(0), b - b.mean(0)
    covariances = ac.T @ ac, bc.T @ bc
    roots = [torch.linalg.inv(torch.linalg.cholesky(c)) for c in covariances]
    u, rho, _ = torch.linalg.svd(roots[0] @ ac.T @ bc @ roots[1].T, full_matrices=False)
    variates = ac @ roots[0].T @ u
    weights = (variates.T @ ac).abs().sum(1)
    assert pwcca(a, b) == pytest.approx(float((weights * rho).sum() / weights.sum()))


@given(st.integers(0, 10**6))
def test_cca_does_not_change_under_invertible_maps_nor_procrustes_under_rotations(seed):
    a, b = pair(seed=seed)
    generator = seeded(seed + 1)
    mixing = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    moved = b @ mixing + 5
    for measure in (mean_cca, pwcca):
        assert measure(a, moved) == pytest.approx(measure(a, b), abs=1e-6)
    assert linear_regression_r2(moved, a) == pytest.approx(linear_regression_r2(b, a), abs=1e-6)
    rotation = torch.linalg.qr(mixing)[0]
    for measure in (procrustes_similarity, svcca):
        assert measure(a, 3 * b @ rotation + 5) == pytest.approx(measure(a, b))


def test_procrustes_is_scipys_and_regression_scikit_learns():
    a, b = pair(d=4)
    ac, bc = ((x - x.mean(0)) / (x - x.mean(0)).norm() for x in (a, b))
    rotation, scale = orthogonal_procrustes(ac.numpy(), bc.numpy())
    assert procrustes_similarity(a, b) == pytest.approx(scale)
    distance = np.linalg.norm(ac.numpy() @ rotation - bc.numpy()) ** 2
    assert 1 - distance / 2 == pytest.approx(scale)
    model = LinearRegression().fit(a.numpy(), b.numpy())
    expected = model.score(a.numpy(), b.numpy(), sample_weight=None)
    residual = b.numpy() - model.predict(a.numpy())
    expected = 1 - (residual**2).sum() / float((b - b.mean(0)).square().sum())
    assert linear_regression_r2(a, b) == pytest.approx(expected)


def test_svcca_keeps_the_directions_that_hold_the_variance():
    generator = seeded(0)
    strong = torch.randn(80, 2, generator=generator, dtype=torch.float64)
    weak = [1e-3 * torch.randn(80, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    a, b = (torch.cat([strong, each], 1) for each in weak)
    assert basis_of(a, variance=0.99).vectors.shape == (80, 2)
    assert svcca(a, b) == pytest.approx(1, abs=1e-4)
    assert mean_cca(a, b) < 0.9


def test_a_wide_representation_has_the_basis_of_its_gram_matrix():
    wide = torch.randn(10, 50, generator=seeded(0), dtype=torch.float64)
    found = basis_of(wide)
    centred = wide - wide.mean(0)
    assert torch.allclose(found.scales, torch.linalg.svdvals(centred)[:9])
    assert torch.allclose(found.vectors @ found.vectors.T @ centred, centred)


def test_matching_is_broken_by_a_rotation_only():
    a, _ = pair(d=4)
    order = torch.tensor([2, 0, 3, 1])
    for method in ("bipartite", "semi"):
        assert matching_similarity(a, 2 * a[:, order] + 1, method=method) == pytest.approx(1)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=seeded(1), dtype=torch.float64))[0]
    assert matching_similarity(a, a @ rotation) < 0.95
    assert matching_similarity(a, a[:, :2]) == pytest.approx(1)


def test_too_many_dimensions_are_refused():
    a, b = pair(n=8, d=4, e=4)
    for measure in (mean_cca, pwcca, svcca):
        with pytest.raises(InvalidInputError, match="meet in 8 samples"):
            measure(a, b)
    wide = torch.randn(8, 20)
    with pytest.raises(InvalidInputError, match="fits anything"):
        linear_regression_r2(wide, wide)
    with pytest.raises(InvalidInputError, match="share above 0"):
        svcca(a, b, variance=1.5)
    with pytest.raises(InvalidInputError, match="too many to match"):
        matching_similarity(torch.randn(3, 5000), torch.randn(3, 2))
