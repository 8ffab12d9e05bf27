"""The rows of `assay.nets`."""

import torch

from assay.nets import (
    VAE,
    CifarResNet,
    DecoderTransformer,
    LowRankAdapter,
    Normalize,
    QKLayerNorm,
    Recipe,
    TwoLayerReLU,
    add_low_rank_adapters,
    beta_vae_loss,
    gaussian_kl,
    mlp,
    normalized_conv,
    small_conv,
)
from assay.nets.diffusion import GaussianMixtureDenoiser, GuidedDDIMSampler, linear_noise_schedule
from helpers.rows.standalone import Formula, Module, Sampler


def _flat(source, n):
    return (torch.randn(n, 4, generator=source).double(),)


def _images(side, channels=1):
    return lambda source, n: (torch.rand(n, channels, side, side, generator=source).double(),)


def _tokens(source, n):
    return (torch.randint(7, (n, 5), generator=source),)


def _queries_and_keys(source, n):
    return (torch.randn(n, 2, 3, 4, generator=source).double(), torch.randn(n, 2, 3, 4, generator=source).double())


def _seeded(build, *arguments, **options):
    """Return what builds a network from a generator."""
    return lambda source: build(*arguments, generator=source, **options)


def _posterior(source, n):
    return (torch.randn(n, 3, generator=source).double(), torch.randn(n, 3, generator=source).double())


def _reconstruction(source, n):
    pixels = torch.rand(n, 4, generator=source).double()
    return (torch.randn(n, 4, generator=source).double(), pixels, *_posterior(source, n))


def _adapted(source):
    network = mlp((4, 6, 3), generator=source)
    add_low_rank_adapters(network, 2, generator=source)
    return network


def _mixture(source):
    factors = torch.randn(2, 4, 4, generator=source)
    spread = factors @ factors.mT + torch.eye(4)
    weights = torch.tensor([0.3, 0.7])
    return GaussianMixtureDenoiser(
        weights, torch.rand(2, 4, generator=source), spread, linear_noise_schedule(5, 0.1, 0.4)
    )


def _guided(generator, n, *, batch_size=64):
    sampler = GuidedDDIMSampler(lambda x, t: x / 2, linear_noise_schedule(5, 0.1, 0.4).double(), recurrence=2)
    darkness = lambda images: images.sum((1, 2, 3))  # noqa: E731
    return sampler.sample((n, 1, 2, 2), guidance=darkness, generator=generator, batch_size=batch_size)


ROWS = (
    # Networks of torch's own layers take the shapes that these take.
    Module(mlp, _flat, build=_seeded(mlp, (4, 6, 3)), refuses=()),
    Module(TwoLayerReLU, _flat, build=_seeded(TwoLayerReLU, 4, 6), refuses=("empty",)),
    Module(Normalize, _images(2), options={"mean": (0.5,), "std": (0.25,)}, refuses=("empty",)),
    Module(small_conv, _images(8), build=_seeded(small_conv, (1, 8, 8), 3, channels=(2, 3), hidden=4), refuses=()),
    Module(normalized_conv, _images(8), build=_seeded(normalized_conv, (1, 8, 8), 3, channels=(2, 2, 2)), refuses=()),
    Module(CifarResNet, _images(8, 3), build=_seeded(CifarResNet, 8, 3), modes_differ=True, refuses=()),
    Module(DecoderTransformer, _tokens, build=_seeded(DecoderTransformer, 7, 8, 2, 2), refuses=("axis",)),
    Module(QKLayerNorm, _queries_and_keys, options={"head_dim": 4}, refuses=()),
    Module(Recipe, _flat, build=lambda source: Recipe(hidden=6).build((4,), 3, generator=source), refuses=()),
    Module(
        LowRankAdapter,
        _flat,
        build=lambda source: LowRankAdapter(mlp((4, 3), generator=source)[0], 2, generator=source),
        refuses=(),
    ),
    Module(VAE, _flat, build=_seeded(VAE, 4, 2, hidden=(5,)), refuses=("axis",)),
    Formula(gaussian_kl, _posterior, refuses=("rows", "axis")),
    Formula(
        beta_vae_loss,
        _reconstruction,
        rowwise=False,
        wrong={"pixels above one": lambda: (torch.zeros(1, 2), torch.full((1, 2), 2.0), *2 * [torch.zeros(1, 3)])},
    ),
    Module(add_low_rank_adapters, _flat, build=_adapted, refuses=()),
    Module(GaussianMixtureDenoiser, lambda source, n: (*_flat(source, n), 3), build=_mixture),
    Sampler(GuidedDDIMSampler, _guided, (1, 2, 2)),
    Formula(
        linear_noise_schedule,
        lambda source, n: (5, 0.1, 0.4),
        rowwise=False,
        wrong={"no step": lambda: (0, 0.1, 0.4), "a beta above one": lambda: (5, 0.1, 1.4)},
    ),
)
