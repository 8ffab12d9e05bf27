"""Variational autoencoder with a Gaussian posterior, and its loss (Kingma and Welling, 2014; Higgins et al., 2017)."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from assay.core import InvalidInputError, check_choice, check_count, check_finite, check_positive, seeded
from assay.nets.perceptron import mlp


class VAE(nn.Module):
    r"""Encode vectors as $q(z \mid x) = \mathcal N(\mu(x), \mathrm{diag}\,\sigma^2(x))$, and decode a latent vector.

    Encoder and decoder are ReLU networks with the same hidden layers, in opposite order. The prior is
    $\mathcal N(0, I)$.

    Args:
        n_features: Features d of a sample.
        n_latents: Latent variables k.
        hidden: Units of the encoder's hidden layers.
        generator: Source of the initial weights; a fixed seed by default.

    Raises:
        InvalidInputError: A size is below 1.

    Cost: a forward pass takes time O(n p), for p weights.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix C.

    >>> mean, log_variance = VAE(4, 2, hidden=(8,)).encode(torch.zeros(3, 4))
    >>> mean.shape, log_variance.shape
    (torch.Size([3, 2]), torch.Size([3, 2]))
    """

    def __init__(
        self,
        n_features: int,
        n_latents: int,
        *,
        hidden: Sequence[int] = (256, 256),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_count(n_features, "n_features")
        check_count(n_latents, "n_latents")
        source = seeded(0) if generator is None else generator
        self.encoder = mlp((n_features, *hidden, 2 * n_latents), generator=source)
        self.decoder = mlp((n_latents, *reversed(hidden), n_features), generator=source)

    def encode(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        r"""Return $\mu(x)$ and $\log \sigma^2(x)$."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Return the decoder's outputs: logits of pixels, or their means."""
        return self.decoder(z)

    def forward(
        self, x: Float[Tensor, "n d"], noise: Float[Tensor, "n k"] | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        r"""Return the decoder's outputs at $\mu(x) + \sigma(x) \odot \epsilon$, then $\mu(x)$ and $\log \sigma^2(x)$.

        Args:
            x: Samples.
            noise: Standard normal $\epsilon$; none for the reconstruction from the means.
        """
        mean, log_variance = self.encode(x)
        z = mean if noise is None else mean + (log_variance / 2).exp() * noise
        return self.decode(z), mean, log_variance


def gaussian_kl(mean: Float[Tensor, "n k"], log_variance: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    r"""Return $\mathrm{KL}(\mathcal N(\mu, \sigma^2) \,\|\, \mathcal N(0, 1))$ of each sample and variable, in nats.

    $\frac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)$; zero where a variable has collapsed to the prior.

    Args:
        mean: Posterior means.
        log_variance: Logarithms of the posterior variances.

    Raises:
        InvalidInputError: The shapes differ, or are not (n, k).

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix B.

    >>> gaussian_kl(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)).tolist()
    [[0.0, 0.5]]
    """
    if mean.shape != log_variance.shape or mean.ndim != 2:
        raise InvalidInputError(
            f"mean and log_variance must be of one shape (n, k), got {tuple(mean.shape)} and "
            f"{tuple(log_variance.shape)}; pass what the encoder gives for the same samples"
        )
    return (mean.square() + torch.expm1(log_variance) - log_variance) / 2


def beta_vae_loss(
    outputs: Float[Tensor, "n d"],
    x: Float[Tensor, "n d"],
    mean: Float[Tensor, "n k"],
    log_variance: Float[Tensor, "n k"],
    *,
    beta: float = 1.0,
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
) -> Float[Tensor, ""]:
    r"""Return the negative evidence lower bound with a weighted divergence, in nats a sample.

    $\frac1n \sum_i \big[-\log p(x_i \mid z_i) + \beta\,\mathrm{KL}(q(z \mid x_i) \,\|\, p(z))\big]$, a sum over
    features and latent variables. A mean over features instead would raise $\beta$ by a factor of d.

    Args:
        outputs: Decoder's outputs at one draw z of each sample: logits of the pixels, or their means.
        x: Samples; within [0, 1] for Bernoulli pixels.
        mean: Posterior means.
        log_variance: Logarithms of the posterior variances.
        beta: Weight of the divergence; 1 is the variational autoencoder of Kingma and Welling.
        likelihood: "bernoulli", or "gaussian" with variance 1, without its constant.

    Raises:
        InvalidInputError: Shapes do not fit, `beta` is not positive, or Bernoulli pixels lie outside [0, 1].
        NumericalError: The loss is NaN or infinite.

    Source: Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework" (2017),
    equation 4.

    >>> x = torch.tensor([[0.0, 1.0]])
    >>> round(beta_vae_loss(torch.zeros(1, 2), x, torch.zeros(1, 3), torch.zeros(1, 3)).item(), 4)  # 2 log 2
    1.3863
    """
    check_choice(likelihood, ("bernoulli", "gaussian"), "likelihood")
    check_positive(beta, "beta")
    if outputs.shape != x.shape or x.ndim != 2 or len(x) != len(mean) or len(x) == 0:
        raise InvalidInputError(
            f"outputs {tuple(outputs.shape)}, x {tuple(x.shape)} and mean {tuple(mean.shape)} do not fit; pass "
            "(n, d), (n, d) and (n, k) of the same samples"
        )
    if likelihood == "bernoulli":
        if x.min() < 0 or x.max() > 1:
            raise InvalidInputError(
                f"Bernoulli pixels must lie within [0, 1], got {x.min().item():.3g} to {x.max().item():.3g}; "
                'rescale them, or take likelihood="gaussian"'
            )
        errors = F.binary_cross_entropy_with_logits(outputs, x, reduction="none")
    else:
        errors = (outputs - x).square() / 2
    loss = (errors.sum(1) + beta * gaussian_kl(mean, log_variance).sum(1)).mean()
    check_finite(loss, "the loss")
    return loss
