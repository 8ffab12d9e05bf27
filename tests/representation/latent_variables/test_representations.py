import matplotlib as mpl
import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.representation import compare_representations, total_correlation
from assay.representation.latent_variables import sampled_correlation

mpl.use("Agg")


def posterior(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two correlated active variables, two correlated passive ones, and a mixed one."""
    source = seeded(0)
    shared = torch.randn(n, 1, generator=source, dtype=torch.float64)
    own = torch.randn(n, 5, generator=source, dtype=torch.float64)
    mean = (0.6 * shared + 0.8 * own) * torch.tensor([1.0, 1.0, 0.01, 0.02, 1.0])
    variance = torch.tensor([0.02, 0.04, 1.0, 0.98, 1.0], dtype=torch.float64).repeat(n, 1)
    variance[::2, 4] = 0.02
    return mean, variance.log()


def test_the_covariance_of_samples_is_that_of_means_plus_mean_variances() -> None:
    mean, log_variance = posterior(50_000)
    codes = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=seeded(1), dtype=torch.float64)
    expected = torch.cov(mean.T) + log_variance.exp().mean(0).diag()
    # The standard error of a covariance is at most that of a variance of normal variables.
    error = (torch.outer(expected.diagonal(), expected.diagonal()) + expected**2).sqrt() / len(mean) ** 0.5
    assert ((torch.cov(codes.T) - expected).abs() < 4 * error).all()
    deviations = expected.diagonal().sqrt()
    torch.testing.assert_close(
        sampled_correlation(mean, log_variance), expected / torch.outer(deviations, deviations), atol=1e-4, rtol=0
    )


def test_passive_variables_alone_lose_their_correlations() -> None:
    found = compare_representations(*posterior(20_000), generator=seeded(2))
    assert found.types.mixed.tolist() == [4]
    assert found.largest_passive_correlation(found.mean_correlation) == pytest.approx(0.36, abs=0.02)
    assert found.largest_passive_correlation(found.sampled_correlation) < 0.04
    assert found.sampled["active"].max_correlation == pytest.approx(0.36, abs=0.03)
    torch.testing.assert_close(found.sampled_correlation, found.expected_correlation, atol=0.03, rtol=0)


def test_scores_are_those_of_the_columns_of_each_set() -> None:
    mean, log_variance = posterior(200)
    found = compare_representations(mean, log_variance)
    unions = {"active + passive", "active + mixed", "passive + mixed"}
    assert set(found.sets) == {"full", "active", "passive", "mixed"} | unions
    for name, index in found.sets.items():
        assert found.mean[name].total_correlation == pytest.approx(total_correlation(mean[:, index]), abs=1e-12)
    assert found.mean["mixed"].total_correlation == found.mean["mixed"].max_correlation == 0
    assert "2 active (0, 1)" in str(found)
    assert found.plot().get_xlabel()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="NaN"):
        compare_representations(torch.ones(3, 2), torch.full((3, 2), torch.nan))
