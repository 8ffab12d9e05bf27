"""A network that maps trained weights to training images, taught on shadow models: Maciazek and Allison at toy scale.

The victims are linear heads for two digits, trained on one image of each by DP-SGD (or without noise) from random
initial weights that the attacker does not know, unlike the recipe and the distribution of the images.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.core import fit, predict, seeded, spawn_seeds, squared_error, tpr_at_fpr
from assay.data import load
from assay.nets import mlp
from assay.reconstruction import normalized_correlation
from assay.studies.reconstruction.reconstruction_frontier.settings import Settings

DIGITS = (3, 5)


def attack_by_shadows(settings: Settings, noise: float, seed: int) -> dict[str, Any]:
    """Train shadow heads and victims on disjoint images, the reconstructor on the former, and score on the latter."""
    prior, private, x_test, y_test = _images(seed)
    seeds = spawn_seeds(seed, 4)
    shadow_weights, shadow_images, _ = train_heads(settings, noise, prior, settings.shadows, seeds[0])
    weights, images, drawn = train_heads(settings, noise, private, settings.head_victims, seeds[1])
    centre, spread = shadow_weights.mean(0), shadow_weights.std(0)
    reconstructor = mlp((shadow_weights.shape[1], 256, 128), generator=seeded(seeds[2]))
    adam = partial(torch.optim.Adam, lr=1e-3)
    inputs, targets = (shadow_weights - centre) / spread, shadow_images.flatten(1)
    options = {"batch_size": 256, "n_iter": settings.reader_steps, "generator": seeded(seeds[3])}
    fit(reconstructor, inputs, targets, loss=squared_error, optimizer=adam, schedule="cosine", **options)
    found = predict(reconstructor, (weights - centre) / spread).reshape(images.shape)
    mean_image = targets.mean(0).reshape(1, *images.shape[1:]).expand_as(images)
    logits = torch.einsum("vcd,nd->vnc", weights.reshape(-1, 2, 65), _with_one(x_test))
    return {
        **_scores(found, private, drawn),
        **{f"mean image: {name}": value for name, value in _scores(mean_image, private, drawn).items()},
        "accuracy": float((logits.argmax(2) == y_test).double().mean()),
    }


def _images(seed: int) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Split each digit's images in the attacker's and the victims'; test images come from neither."""
    data = load("digits")
    source = seeded(seed)
    prior, private = [], []
    for digit in DIGITS:
        own = data.x_train[data.y_train == digit].flatten(1)
        own = own[torch.randperm(len(own), generator=source)]
        prior.append(own[: len(own) // 2])
        private.append(own[len(own) // 2 :])
    tested = torch.isin(data.y_test, torch.tensor(DIGITS))
    return prior, private, data.x_test[tested].flatten(1), (data.y_test[tested] == DIGITS[1]).long()


def train_heads(
    settings: Settings, noise: float, pools: list[Tensor], count: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Train many heads at once, each on one image a class; return weights, images and which images were drawn.

    The noise is its standard deviation over the clipping norm, which is 1.
    """
    source = seeded(seed)
    drawn = torch.stack([torch.randint(len(pool), (count,), generator=source) for pool in pools], 1)
    images = torch.stack([pool[drawn[:, k]] for k, pool in enumerate(pools)], 1)
    x, labels = _with_one(images), torch.eye(2)
    weights = 0.01 * torch.randn(count, 2, 65, generator=source)
    for _ in range(settings.head_steps):
        error = torch.softmax(torch.einsum("vcd,vnd->vnc", weights, x), 2) - labels
        size = error.norm(dim=2) * x.norm(dim=2)
        clipped = error / size.clamp_min(1.0)[..., None]
        noises = noise * torch.randn(weights.shape, generator=source)
        weights = weights - settings.head_lr * (torch.einsum("vnc,vnd->vcd", clipped, x) + noises) / len(pools)
    return weights.flatten(1), images, drawn


def _scores(found: Tensor, pools: list[Tensor], drawn: Tensor) -> dict[str, float]:
    """Correlate reconstructions with the images that were trained on, and with all others of the class."""
    members, others = [], []
    for k, pool in enumerate(pools):
        ncc = normalized_correlation(found[:, k], pool)
        own = torch.zeros_like(ncc, dtype=torch.bool).scatter_(1, drawn[:, k : k + 1], True)
        members += ncc[own].tolist()
        others += ncc[~own].tolist()
    return {
        "members told": tpr_at_fpr(members, others, 0.01),
        "NCC > 0.5": float((torch.tensor(members) > 0.5).double().mean()),
        "NCC": float(torch.tensor(members).mean()),
    }


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)
