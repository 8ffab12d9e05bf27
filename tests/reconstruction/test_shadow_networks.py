import pytest
import torch
from sklearn.exceptions import NotFittedError

from assay.core import InvalidInputError, seeded
from assay.reconstruction import ShadowReconstructor, normalized_correlation

DIMENSION = 6


def heads(count, seed, *, trained=True):
    """Weights of linear heads after one step on two samples, one a class, from initial weights nobody knows."""
    source = seeded(seed)
    samples = torch.rand(count, 2, DIMENSION, generator=source)
    start = 0.01 * torch.randn(count, 2, DIMENSION, generator=source)
    slope = torch.tensor([[0.5, -0.5], [-0.5, 0.5]])  # of cross-entropy at even odds
    step = torch.einsum("nc,kcd->knd", slope, samples) if trained else 0.0
    return (start + step).flatten(1), samples.reshape(count, 2, 2, 3)


def test_samples_of_unseen_networks_come_back_and_chance_does_not():
    shadows, (weights, samples) = heads(1500, 0), heads(100, 1)
    found = ShadowReconstructor((64,), n_iter=1500, lr=3e-3).fit(*shadows).predict(weights)
    assert found.shape == samples.shape
    # The step holds the difference of both samples only: the map finds their difference, and the mean for their sum.
    difference, expected = found[:, 0] - found[:, 1], samples[:, 0] - samples[:, 1]
    match = normalized_correlation(difference.flatten(1), expected.flatten(1))
    assert match.diagonal().min() > 0.9
    assert match.fill_diagonal_(0).mean().abs() < 0.1
    sums = found.sum(1) - samples.sum(1)
    assert abs(float(sums.std()) - float(samples.sum(1).std())) < 0.1


def test_weights_that_hold_nothing_give_the_mean_sample():
    shadows, (weights, samples) = heads(1500, 0, trained=False), heads(100, 1, trained=False)
    found = ShadowReconstructor((16,), n_iter=300).fit(*shadows).predict(weights)
    assert float((found - samples).square().mean()) > 0.95 * float(samples.var())


def test_a_linear_map_is_least_squares():
    weights = torch.randn(60, 4, generator=seeded(2)).double()
    samples = weights @ torch.randn(4, 3, generator=seeded(3)).double() + 1
    found = ShadowReconstructor((), lr=0.05, n_iter=2000).fit(weights, samples)
    torch.testing.assert_close(found.predict(weights), samples, rtol=0, atol=1e-4)


def test_a_constant_weight_changes_nothing():
    weights, samples = heads(40, 0)
    plain = ShadowReconstructor((8,), n_iter=20).fit(weights, samples)
    found = ShadowReconstructor((8,), n_iter=20).fit(torch.cat([weights, torch.ones(40, 1)], 1), samples)
    assert found.scale_[-1] == 1
    assert torch.isfinite(found.predict(torch.cat([weights, torch.ones(40, 1)], 1))).all()
    assert torch.equal(plain.mean_, found.mean_[:-1])


def test_bad_input(as_users_run_it):
    weights, samples = heads(8, 0)
    with pytest.raises(InvalidInputError, match="two or more"):
        ShadowReconstructor().fit(weights[:1], samples[:1])
    with pytest.raises(InvalidInputError, match="8"):
        ShadowReconstructor().fit(weights, samples[:7])
    with pytest.raises(InvalidInputError, match="lr"):
        ShadowReconstructor(lr=0.0).fit(weights, samples)
    with pytest.raises(InvalidInputError, match="hidden"):
        ShadowReconstructor((0,)).fit(weights, samples)
    with pytest.raises(NotFittedError):
        ShadowReconstructor().predict(weights)
    with pytest.raises(InvalidInputError, match="rows of 12"):
        ShadowReconstructor((4,), n_iter=1).fit(weights, samples).predict(weights[:, :5])
