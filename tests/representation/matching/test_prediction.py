import pytest
import torch
from sklearn.linear_model import Lasso

from assay.core import InvalidInputError, seeded
from assay.representation.matching import activation_statistics, sparse_prediction


def activations(s=80, n_a=6, n_b=4):
    generator = seeded(0)
    a = torch.randn(s, n_a, generator=generator, dtype=torch.float64) + 3
    mixing = torch.randn(n_a, n_b, generator=generator, dtype=torch.float64)
    return a, a @ mixing + torch.randn(s, n_b, generator=generator, dtype=torch.float64)


def standardised(rows):
    return (rows - rows.mean(0)) / rows.std(0, correction=0)


def test_without_penalty_it_is_least_squares():
    a, b = activations()
    path = sparse_prediction(activation_statistics(a, b), penalties=[0.0])
    za, zb = standardised(a), standardised(b)
    weights = torch.linalg.lstsq(za, zb).solution
    assert torch.allclose(path.weights[0], weights)
    assert torch.allclose(path.errors[0], (zb - za @ weights).square().mean(0))
    assert (path.n_sources == 6).all()


def test_with_a_penalty_it_is_the_lasso_on_the_standardised_rows():
    a, b = activations()
    path = sparse_prediction(activation_statistics(a, b), penalties=[0.01, 0.3])
    za, zb = standardised(a), standardised(b)
    for place, penalty in enumerate((0.01, 0.3)):
        for unit in range(4):
            peer = Lasso(penalty, fit_intercept=False, tol=1e-10).fit(za.numpy(), zb[:, unit].numpy())
            assert torch.allclose(path.weights[place, :, unit], torch.from_numpy(peer.coef_), atol=1e-3)
            error = (zb[:, unit] - za @ torch.from_numpy(peer.coef_)).square().mean()
            assert float(path.errors[place, unit]) == pytest.approx(float(error), abs=1e-4)
    assert path.n_sources[1].mean() < path.n_sources[0].mean()


def test_orthogonal_units_are_soft_thresholded():
    a = torch.linalg.qr(torch.randn(40, 5, generator=seeded(1), dtype=torch.float64).sub_(0.0))[0]
    a = torch.linalg.qr(a - a.mean(0))[0]
    b = a @ torch.tensor([[3.0, 0.0, 1.0, 0.0, 0.2]], dtype=torch.float64).T
    statistics = activation_statistics(a, b)
    path = sparse_prediction(statistics, penalties=[0.1])
    assert torch.allclose(path.weights[0], (statistics.between - 0.1).clamp(min=0), atol=1e-6)


def test_two_equal_units_share_the_least_squares_weight():
    a, _ = activations(n_a=1)
    path = sparse_prediction(activation_statistics(a.repeat(1, 2), a), penalties=[0.0])
    assert torch.allclose(path.weights[0], torch.full((2, 1), 0.5, dtype=torch.float64))
    assert float(path.errors.max()) < 1e-12


def test_dead_units_and_negative_penalties_are_refused():
    a, b = activations()
    with pytest.raises(InvalidInputError, match="dead"):
        sparse_prediction(activation_statistics(torch.ones_like(a), b))
    with pytest.raises(InvalidInputError, match="penalties"):
        sparse_prediction(activation_statistics(a, b), penalties=[-1.0])
    assert "at 0" in str(sparse_prediction(activation_statistics(a, b)))
