import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import mutual_info_score

from assay.core import InvalidInputError, NumericalError, seeded
from assay.representation import total_correlation
from assay.representation.latent_variables import correlation_matrix, effective_rank, mutual_information_score


def codes(n: int = 400, k: int = 4, seed: int = 0) -> torch.Tensor:
    source = seeded(seed)
    factors = torch.randn(k, k, generator=source, dtype=torch.float64)
    return torch.randn(n, k, generator=source, dtype=torch.float64) @ factors


def test_total_correlation_is_the_entropies_of_scipy() -> None:
    covariance = torch.cov(codes().T)
    marginals = sum(norm(scale=deviation).entropy() for deviation in covariance.diagonal().sqrt().tolist())
    expected = marginals - multivariate_normal(cov=covariance.numpy()).entropy()
    assert total_correlation(codes()) == pytest.approx(expected, rel=1e-10)
    assert total_correlation(covariance, covariance=True) == pytest.approx(expected, rel=1e-10)


def test_total_correlation_ignores_scales_down_to_those_of_passive_means() -> None:
    scales = torch.tensor([1.0, 1e-3, 1e-6, 1e4], dtype=torch.float64)
    assert total_correlation(codes() * scales) == pytest.approx(total_correlation(codes()), rel=1e-9)


def test_total_correlation_of_independent_few_and_constant_variables_is_zero() -> None:
    assert total_correlation(torch.diag(torch.tensor([1.0, 2.0, 1e-6])), covariance=True) == 0
    assert total_correlation(codes()[:, :1]) == total_correlation(codes()[:, :0]) == 0
    constant = torch.full((400, 1), 0.1, dtype=torch.float64)
    with_constant = torch.cat([codes(), constant], 1)
    assert total_correlation(with_constant) == pytest.approx(total_correlation(codes()))


def test_correlations_are_those_of_numpy() -> None:
    np.testing.assert_allclose(correlation_matrix(codes()).numpy(), np.corrcoef(codes().numpy().T), atol=1e-12)


def test_mutual_information_is_that_of_scikit_learn() -> None:
    values, bins = codes().numpy(), 20
    edges = [np.histogram(column, bins)[1][1:-1] for column in values.T]
    places = [np.digitize(column, edge) for column, edge in zip(values.T, edges, strict=True)]
    pairs = [mutual_info_score(places[i], places[j]) for i in range(4) for j in range(4) if i != j]
    assert mutual_information_score(codes(), n_bins=bins) == pytest.approx(np.mean(pairs), rel=1e-6)
    assert mutual_information_score(codes()[:, :1]) == 0


def test_effective_rank_is_the_entropy_of_the_singular_values() -> None:
    singular = np.linalg.svd(np.cov(codes().numpy().T), compute_uv=False)
    shares = singular / singular.sum()
    assert effective_rank(codes()) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert effective_rank(torch.ones(3, 2)) == 0


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(NumericalError, match="determine another"):
        total_correlation(codes()[:, [0, 1, 1]])
    with pytest.raises(InvalidInputError, match="singular"):
        total_correlation(codes(n=4))
    with pytest.raises(InvalidInputError, match="symmetric"):
        total_correlation(codes(), covariance=True)
