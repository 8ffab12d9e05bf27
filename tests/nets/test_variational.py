import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from assay.core import InvalidInputError, seeded
from assay.nets import VAE, beta_vae_loss, gaussian_kl


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_the_divergence_is_that_of_torch() -> None:
    mean, log_variance = drawn(50, 3), 2 * drawn(50, 3, seed=1)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_loss_is_the_negative_evidence_lower_bound(likelihood) -> None:
    outputs, x = drawn(5, 4), torch.rand(5, 4, generator=seeded(2), dtype=torch.float64)
    mean, log_variance = drawn(5, 3, seed=3), drawn(5, 3, seed=4)
    if likelihood == "bernoulli":  # log p at relaxed pixels is the cross-entropy
        error = -Bernoulli(logits=outputs, validate_args=False).log_prob(x)
    else:
        error = -Normal(outputs, 1.0).log_prob(x) + Normal(0.0, 1.0).log_prob(torch.zeros(()).double())
    divergence = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    expected = (error.sum(1) + 4 * divergence.sum(1)).mean()
    found = beta_vae_loss(outputs, x, mean, log_variance, beta=4, likelihood=likelihood)
    torch.testing.assert_close(found, expected)


def test_noise_moves_the_code_by_the_standard_deviation() -> None:
    network, x, noise = VAE(4, 2, hidden=(8,)).double(), drawn(3, 4), drawn(3, 2, seed=1)
    outputs, mean, log_variance = network(x, noise)
    torch.testing.assert_close(outputs, network.decode(mean + log_variance.exp().sqrt() * noise))
    torch.testing.assert_close(network(x)[0], network.decode(mean))


def test_pixels_outside_the_range_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="within"):
        beta_vae_loss(torch.zeros(1, 2), torch.tensor([[0.0, 2.0]]), torch.zeros(1, 1), torch.zeros(1, 1))
