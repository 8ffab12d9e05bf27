"""Where poisons are tried: clean images, networks that are trained on them, and a diffusion model of their kind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from assay.core import (
    StackedTrainer,
    cross_entropy,
    isolated_rng,
    named_parameters,
    predict,
    require_extra,
    seeded,
    spawn_seeds,
)
from assay.data import Dataset, available, load
from assay.nets import mlp, small_conv
from assay.nets.diffusion import (
    Denoiser,
    GaussianMixtureDenoiser,
    UNetDenoiser,
    linear_noise_schedule,
)
from assay.privacy import (
    PoisonGoal,
)
from assay.privacy.poisoning import (
    add_trigger,
)


@dataclass(frozen=True, eq=False)
class World:
    """One attacker's surroundings.

    Attributes:
        x: Clean training images.
        y: Their classes.
        test: Clean test images and their classes.
        build: Builds an untrained network.
        trainer: Trains surrogate, judge and victims alike.
        surrogate: What the attacker crafts on.
        judge: Another network, which says what bases look like.
    """

    x: Tensor
    y: Tensor
    test: tuple[Tensor, Tensor]
    build: Callable[[torch.Generator], nn.Module]
    trainer: StackedTrainer
    surrogate: nn.Module
    judge: nn.Module


def images(source: str, size: int) -> Dataset:
    """Return a data set, or the embedded one where it is not on this machine, with images averaged down to `size`."""
    data = load(available(source))
    factor = data.x_train.shape[-1] // size
    small = partial(F.avg_pool2d, kernel_size=factor)
    return Dataset(
        data.name, small(data.x_train), data.y_train, small(data.x_test), data.y_test, class_names=data.class_names
    )


def build_world(
    data: Dataset, n_clean: int, networks: tuple[tuple[int, ...], tuple[int, ...]], epochs: int, seed: int
) -> World:
    """Draw clean images and train a surrogate and a judge on them, from weights drawn apart.

    Networks have convolutions of as many channels, if any, and hidden layers of as many units.
    """
    convolutions, hidden = networks
    draw_seed, train_seed, *model_seeds = spawn_seeds(seed, 4)
    chosen = torch.randperm(len(data.y_train), generator=seeded(draw_seed))[:n_clean]
    x, y = data.x_train[chosen], data.y_train[chosen]
    channels, height, width = x.shape[1:]
    widths = (x[0].numel(), *hidden, data.n_classes)

    def build(source: torch.Generator) -> nn.Module:
        if convolutions:
            shape = (channels, height, width)
            return small_conv(shape, data.n_classes, channels=convolutions, hidden=hidden[0], generator=source)
        return nn.Sequential(nn.Flatten(), *mlp(widths, generator=source))

    trainer = StackedTrainer(cross_entropy, partial(torch.optim.Adam, lr=3e-3), epochs=epochs)
    surrogate, judge = (build(seeded(own)) for own in model_seeds)
    trainer([surrogate, judge], x, y, torch.ones(2, len(x), dtype=torch.bool), generator=seeded(train_seed))
    return World(x, y, (data.x_test[:2000], data.y_test[:2000]), build, trainer, surrogate, judge)


def draw_goal(world: World, seed: int) -> PoisonGoal:
    """Draw a test image that the surrogate judges rightly, and another class that it shall be given."""
    source = seeded(seed)
    x, y = world.test
    right = (predict(world.surrogate, x).argmax(1) == y).nonzero()[:, 0]
    place = right[torch.randint(len(right), (1,), generator=source)]
    n_classes = int(world.y.max()) + 1
    shift = int(torch.randint(1, n_classes, (1,), generator=source))
    return PoisonGoal(x[place], (int(y[place]) + shift) % n_classes)


def draw_backdoor(world: World, seed: int) -> tuple[PoisonGoal, PoisonGoal]:
    """Draw a class and another that it shall be given under a trigger; return its training and its test images."""
    first, second = torch.randperm(int(world.y.max()) + 1, generator=seeded(seed))[:2].tolist()
    channels, height, width = world.x.shape[1:]
    patch = torch.ones(channels, height // 4, width // 4)
    (seen, seen_y), (unseen, unseen_y) = (world.x, world.y), world.test
    members = seen[seen_y == first], unseen[unseen_y == first]
    known, judged = (PoisonGoal(add_trigger(images, patch), second) for images in members)
    return known, judged


# --- The two diffusion models: one exact, one trained ---------------------------------------------------------------


def fit_mixture(data: Dataset, components: int, schedule: Tensor, seed: int) -> GaussianMixtureDenoiser:
    """Fit a mixture of Gaussians to each class, whose noise is known exactly."""
    mixtures = [
        GaussianMixture(components, reg_covar=5e-3, random_state=seed).fit(
            (2 * data.x_train[data.y_train == label].flatten(1) - 1).double().numpy()
        )
        for label in range(data.n_classes)
    ]
    return GaussianMixtureDenoiser.from_sklearn(mixtures, schedule)


def new_unet(colours: int, channels: tuple[int, int], seed: int) -> nn.Module:
    """Build an untrained network of diffusers, for images of any even size."""
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


def train_unet(
    data: Dataset, channels: tuple[int, int], schedule: Tensor, *, steps: int, batch_size: int, seed: int
) -> dict[str, Tensor]:
    """Train it to predict noise, and return its weights."""
    build_seed, draw_seed = spawn_seeds(seed, 2)
    unet, source = new_unet(data.x_train.shape[1], channels, build_seed).train(), seeded(draw_seed)
    optimizer = torch.optim.Adam(unet.parameters(), lr=3e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x = 2 * data.x_train[torch.randint(len(data.x_train), (batch_size,), generator=source)] - 1
        times = torch.randint(len(schedule), (batch_size,), generator=source)
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


def study_schedule() -> Tensor:
    """Return a schedule of a hundred times, a tenth of the usual number."""
    return linear_noise_schedule(100, 1e-3, 0.1)
