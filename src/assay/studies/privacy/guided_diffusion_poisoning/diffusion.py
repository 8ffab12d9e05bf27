"""The two diffusion models of the study: a mixture of Gaussians, whose noise is known exactly, and a trained UNet."""

import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from assay.core import isolated_rng, named_parameters, require_extra, seeded, spawn_seeds
from assay.data import Dataset
from assay.nets.diffusion import Denoiser, GaussianMixtureDenoiser, UNetDenoiser, linear_noise_schedule
from assay.studies.privacy.guided_diffusion_poisoning.settings import Settings
from assay.studies.privacy.guided_diffusion_poisoning.worlds import load_images

SCHEDULE = (100, 1e-3, 0.1)
"""Number of times, a tenth of the usual one, and the first and the last noise variance."""


def fit_mixture(data: Dataset, components: int, seed: int) -> GaussianMixtureDenoiser:
    """Fit a mixture of Gaussians to each class."""
    mixtures = [
        GaussianMixture(components, reg_covar=5e-3, random_state=seed).fit(
            (2 * data.x_train[data.y_train == label].flatten(1) - 1).double().numpy()
        )
        for label in range(data.n_classes)
    ]
    return GaussianMixtureDenoiser.from_sklearn(mixtures, linear_noise_schedule(*SCHEDULE))


def train_unet(settings: Settings, seed: int) -> dict[str, Tensor]:
    """Train the UNet to predict noise, and return its weights."""
    build_seed, draw_seed = spawn_seeds(seed, 2)
    x_train = load_images(settings.unet.source, settings.unet.size).x_train
    schedule = linear_noise_schedule(*SCHEDULE)
    unet, source = new_unet(x_train.shape[1], settings.channels, build_seed).train(), seeded(draw_seed)
    optimizer = torch.optim.Adam(unet.parameters(), lr=3e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.unet_steps)
    for _ in range(settings.unet_steps):
        x = 2 * x_train[torch.randint(len(x_train), (settings.unet_batch,), generator=source)] - 1
        times = torch.randint(len(schedule), (settings.unet_batch,), generator=source)
        noise, abar = torch.randn(x.shape, generator=source), schedule[times].view(-1, 1, 1, 1)
        optimizer.zero_grad()
        F.mse_loss(unet(abar.sqrt() * x + (1 - abar).sqrt() * noise, times).sample, noise).backward()
        optimizer.step()
        falling.step()
    return named_parameters(unet)


def trained_unet(weights: dict[str, Tensor], channels: tuple[int, int]) -> Denoiser:
    """Return the denoiser of weights that `train_unet` returned."""
    unet = new_unet(weights["conv_in.weight"].shape[1], channels, 0)
    unet.load_state_dict(weights)
    return UNetDenoiser(unet)


def new_unet(colours: int, channels: tuple[int, int], seed: int) -> nn.Module:
    """Build an untrained UNet of the library diffusers, for images of any even size."""
    library = require_extra("diffusers", "diffusion")
    with isolated_rng(seed):
        return library.UNet2DModel(
            in_channels=colours,
            out_channels=colours,
            layers_per_block=1,
            block_out_channels=channels,
            norm_num_groups=channels[0] // 2,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            add_attention=False,
        )
