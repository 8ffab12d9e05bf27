"""Denoisers, the noise predictors of diffusion models, and their noise schedule (Ho, Jain and Abbeel, 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, check_fraction, preserved, require_extra, symmetric_eigenpairs


@runtime_checkable
class Denoiser(Protocol):
    """Predict the noise in images of range [-1, 1], noised up to time t; differentiable in the images."""

    def __call__(self, x: Float[Tensor, "n *d"], t: int, /) -> Float[Tensor, "n *d"]:
        r"""Return the expected noise $\epsilon(x, t)$; t counts from 0, the least noise."""
        ...


def linear_noise_schedule(n_times: int = 1000, first: float = 1e-4, last: float = 0.02) -> Float[Tensor, " t"]:
    r"""Return $\bar\alpha_t = \prod_{s\le t}(1 - \beta_s)$ of a linearly rising $\beta$.

    Args:
        n_times: Diffusion times. Paper: 1000.
        first: First $\beta$. Paper: 1e-4.
        last: Last $\beta$. Paper: 0.02.

    Returns:
        Cumulative products in float32; `.double()` them for a denoiser in float64.

    Raises:
        InvalidInputError: `n_times` is below one, or a $\beta$ does not lie between 0 and 1.

    Source: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020), equation 4 and section 4.

    >>> linear_noise_schedule(2, 0.1, 0.5)
    tensor([0.9000, 0.4500])
    """
    check_count(n_times, "n_times")
    check_fraction(first, "first")
    check_fraction(last, "last")
    return (1 - torch.linspace(first, last, n_times, dtype=torch.float64)).cumprod(0).float()


def common_schedule(denoiser: Denoiser, alphas_cumprod: Float[Tensor, " t"] | None) -> Float[Tensor, " t"]:
    r"""Return the noise schedule of a denoiser, its attribute `alphas_cumprod`, or the given one where it has none.

    Raises:
        InvalidInputError: There is none, or the two differ.

    >>> common_schedule(lambda x, t: x, linear_noise_schedule(2, 0.1, 0.5))
    tensor([0.9000, 0.4500])
    """
    found = getattr(denoiser, "alphas_cumprod", None)
    own = found if isinstance(found, Tensor) else None
    if alphas_cumprod is None:
        if own is None:
            raise InvalidInputError("the denoiser has no alphas_cumprod; pass the noise schedule it was trained with")
        return own
    if own is None:
        return alphas_cumprod
    if own.shape != alphas_cumprod.shape or not torch.allclose(own, alphas_cumprod.to(own), atol=1e-6):
        raise InvalidInputError(
            f"alphas_cumprod has {len(alphas_cumprod)} times and ends at {float(alphas_cumprod[-1]):.4g}, the "
            f"denoiser's own has {len(own)} and ends at {float(own[-1]):.4g}; leave it out, and the denoiser's is taken"
        )
    return alphas_cumprod


class GaussianMixtureDenoiser(nn.Module):
    r"""Denoise samples of a mixture of Gaussians exactly.

    At time t the noised samples have a mixture density $p_t$ too, with component means $\sqrt{\bar\alpha_t}\mu_k$ and
    covariances $\bar\alpha_t S_k + (1-\bar\alpha_t) I$, so that

    $$\epsilon(x, t) = -\sqrt{1-\bar\alpha_t}\;\nabla\log p_t(x).$$

    A fitted mixture is a fair model of images of some hundred pixels.

    Cost: time O(n k d^2) a call, memory O(n k d) beside the covariances, for k components.

    Args:
        weights: Share of each component, not negative.
        means: Mean of each component, in [-1, 1].
        covariances: Covariance of each component.
        alphas_cumprod: $\bar\alpha_t$, from little noise to much.

    Raises:
        InvalidInputError: A weight is negative or all are zero, or a covariance is not positive semi-definite.

    Source: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020), equation 4, for the noised samples;
    the score of a mixture is elementary.

    >>> from assay.nets.diffusion import linear_noise_schedule
    >>> standard = torch.ones(1), torch.zeros(1, 3), torch.eye(3)[None]
    >>> denoiser = GaussianMixtureDenoiser(*standard, linear_noise_schedule(2, 0.19, 0.5))
    >>> (denoiser(torch.eye(3), 0) / 0.19**0.5).round(decimals=4)[0].tolist()  # a standard normal stays one
    [1.0, 0.0, 0.0]
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    axes: Tensor
    alphas_cumprod: Tensor

    def __init__(
        self,
        weights: Float[Tensor, " k"],
        means: Float[Tensor, "k d"],
        covariances: Float[Tensor, "k d d"],
        alphas_cumprod: Float[Tensor, " t"],
    ) -> None:
        super().__init__()
        if not (bool((weights >= 0).all()) and 0 < float(weights.sum()) < torch.inf):
            raise InvalidInputError(f"weights are shares, at least 0 and not all 0; got {weights.tolist()}")
        variances, axes = symmetric_eigenpairs(covariances)
        if variances.min() < -1e-5 * variances.max():
            raise InvalidInputError(
                f"a covariance has the eigenvalue {float(variances.min()):g}; fit the mixture with more regularisation"
            )
        for name, value in (("weights", weights), ("means", means), ("variances", variances.clamp(min=0))):
            self.register_buffer(name, value)
        self.register_buffer("axes", axes)
        self.register_buffer("alphas_cumprod", alphas_cumprod)

    @classmethod
    def from_sklearn(
        cls, mixtures: Sequence[GaussianMixture], alphas_cumprod: Float[Tensor, " t"]
    ) -> "GaussianMixtureDenoiser":
        """Join fitted mixtures, for example one a class, with equal shares.

        Args:
            mixtures: Mixtures with full covariances, fitted to flat images in [-1, 1].
            alphas_cumprod: Noise schedule; the denoiser takes its dtype and device.

        Raises:
            InvalidInputError: There is no mixture, or one has other than full covariances.
        """
        if not mixtures or any(mixture.covariance_type != "full" for mixture in mixtures):
            raise InvalidInputError("pass at least one GaussianMixture, each fitted with covariance_type='full'")
        parts = [
            torch.cat([torch.as_tensor(getattr(mixture, name)) for mixture in mixtures]).to(alphas_cumprod)
            for name in ("weights_", "means_", "covariances_")
        ]
        return cls(parts[0] / len(mixtures), parts[1], parts[2], alphas_cumprod)

    def forward(self, x: Float[Tensor, "n *d"], t: int) -> Float[Tensor, "n *d"]:
        """Return the expected noise."""
        abar = self.alphas_cumprod[t]
        variances = abar * self.variances + 1 - abar
        away = x.flatten(1)[:, None] - abar.sqrt() * self.means
        along = torch.einsum("nkd,kde->nke", away, self.axes)
        log_densities = -0.5 * (along.square() / variances + variances.log()).sum(2)
        shares = (self.weights.log() + log_densities).softmax(1)
        pull = torch.einsum("nk,nke,kde->nd", shares, along / variances, self.axes)
        return ((1 - abar).sqrt() * pull).view_as(x)


@dataclass(frozen=True, eq=False)
class UNetDenoiser:
    """Wrap a noise-predicting `UNet2DModel` of diffusers (extra `diffusion`) as a denoiser.

    The network runs in evaluation mode with frozen weights, and comes back as it was.

    Args:
        unet: Network with as many output as input channels.
        alphas_cumprod: Noise schedule that it was trained with, `scheduler.alphas_cumprod` of its training scheduler; a
            sampler takes it, or refuses another one.

    Raises:
        MissingExtraError: diffusers is not installed.
        InvalidInputError: `unet` is another network, or predicts variances too.

    >>> UNetDenoiser(nn.Linear(2, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    assay.core.errors.InvalidInputError: unet must be a diffusers.UNet2DModel, got Linear; ...
    """

    unet: nn.Module
    alphas_cumprod: Float[Tensor, " t"] | None = None

    def __post_init__(self) -> None:
        library = require_extra("diffusers", "diffusion")
        if not isinstance(self.unet, library.UNet2DModel):
            raise InvalidInputError(
                f"unet must be a diffusers.UNet2DModel, got {type(self.unet).__name__}; any other function (x, t) is a "
                "denoiser as it is"
            )
        unet: Any = self.unet
        channels = unet.config["in_channels"], unet.config["out_channels"]
        if channels[0] != channels[1]:
            raise InvalidInputError(
                f"the network takes {channels[0]} channels and gives {channels[1]}; pass one that predicts only noise"
            )

    def __call__(self, x: Float[Tensor, "n ch h w"], t: int) -> Float[Tensor, "n ch h w"]:
        """Return the expected noise."""
        with preserved(self.unet):
            return self.unet(x, t).sample
