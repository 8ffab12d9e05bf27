"""What a diffusion model is to this room: a function that predicts the noise in a noisy image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from assay.core import InvalidInputError, check_fraction, preserved, require_extra


@runtime_checkable
class Denoiser(Protocol):
    """Predict the noise in images of the range [-1, 1] that were noised up to time t; differentiable in them."""

    def __call__(self, x: Float[Tensor, "n *d"], t: int, /) -> Float[Tensor, "n *d"]:
        r"""Return $\epsilon(x, t)$, the expected noise; t counts from 0, the least noise."""
        ...


def linear_noise_schedule(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Float[Tensor, " t"]:
    r"""Return $\bar\alpha_t = \prod_{s\le t}(1 - \beta_s)$ for $\beta$ that rises linearly.

    Args:
        steps: How many times there are; the defaults are those of denoising diffusion models for CIFAR-10.
        first: The first $\beta$.
        last: The last one.

    Returns:
        Cumulative products in float32; `.double()` them for a denoiser in float64.

    Raises:
        InvalidInputError: `steps` is below one, or a $\beta$ does not lie between 0 and 1.

    >>> linear_noise_schedule(2, 0.1, 0.5)
    tensor([0.9000, 0.4500])
    """
    if steps < 1:
        raise InvalidInputError(f"a schedule needs at least one step, got {steps}")
    check_fraction(first, "first")
    check_fraction(last, "last")
    return (1 - torch.linspace(first, last, steps, dtype=torch.float64)).cumprod(0).float()


class GaussianMixtureDenoiser(nn.Module):
    r"""Denoise exactly, for data whose density is a mixture of Gaussians.

    Noised to time t the mixture is one still, with component k at $\sqrt{\bar\alpha_t}\mu_k$ and of covariance
    $\bar\alpha_t S_k + (1-\bar\alpha_t) I$; with $p_t$ its density,

    $$\epsilon(x, t) = -\sqrt{1-\bar\alpha_t}\;\nabla\log p_t(x).$$

    Nothing is trained beyond the mixture, which is enough for images of some hundred pixels. Cost: O(n k d^2) a call,
    k components.

    Args:
        weights: Share of each component.
        means: Their means, in [-1, 1].
        covariances: Their covariances.
        alphas_cumprod: $\bar\alpha_t$, from little noise to much.

    Raises:
        InvalidInputError: A covariance is not positive semi-definite.

    Source: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models" (2020), for the process; the score of a mixture
    is elementary.

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
        variances, axes = torch.linalg.eigh(covariances)
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
            mixtures: Of full covariance, fitted to flat images in [-1, 1].
            alphas_cumprod: The noise schedule; the denoiser takes its type and device.

        Raises:
            InvalidInputError: There is no mixture, or one is not of full covariance.
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
    """Make a denoiser of a `UNet2DModel` of diffusers (extra `diffusion`) that was trained to predict noise.

    The network runs in evaluation mode with its weights frozen, and comes back as it was. Its schedule is
    `scheduler.alphas_cumprod` of the scheduler that it was trained with.

    Args:
        unet: The network, of as many output as input channels.

    Raises:
        MissingExtraError: diffusers is not installed.
        InvalidInputError: It is no such network, or it predicts variances too.

    >>> UNetDenoiser(nn.Linear(2, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    assay.core.errors.InvalidInputError: unet must be a diffusers.UNet2DModel, got Linear; ...
    """

    unet: nn.Module

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
