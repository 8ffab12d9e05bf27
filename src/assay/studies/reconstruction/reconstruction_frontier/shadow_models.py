"""A network that maps trained weights to training images, taught on shadow models: Maciazek and Allison at toy scale.

The victims are linear heads for two digits, trained on one image of each by DP-SGD (or without noise) from random
initial weights that the attacker does not know. He knows the recipe and the distribution of the images.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from assay.core import fit, predict, seeded, spawn_seeds, squared_error, tpr_at_fpr
from assay.data import load
from assay.nets import mlp
from assay.reconstruction import normalized_correlation

DIGITS = (3, 5)


@dataclass(frozen=True)
class Shadows:
    """One cell: the victims' recipe and the attack.

    Attributes:
        noise: Standard deviation of the noise by the clipping norm, which is 1.
        count: Shadow models.
        victims: Heads that are attacked.
        head_steps: Steps of each head.
        learning_rate: Of the heads.
        steps: Steps of the reconstructor's training.
        seed: Of everything.
    """

    noise: float
    count: int
    victims: int
    head_steps: int
    learning_rate: float
    steps: int
    seed: int


def attack_by_shadows(cell: Shadows) -> dict[str, Tensor]:
    """Train shadow heads and victims on disjoint images, the reconstructor on the former, and score on the latter."""
    prior, private, x_test, y_test = _images(cell.seed)
    seeds = spawn_seeds(cell.seed, 4)
    shadow_weights, shadow_images, _ = train_heads(cell, prior, cell.count, seeds[0])
    weights, images, drawn = train_heads(cell, private, cell.victims, seeds[1])
    centre, spread = shadow_weights.mean(0), shadow_weights.std(0)
    reconstructor = mlp((shadow_weights.shape[1], 256, 128), generator=seeded(seeds[2]))
    adam = partial(torch.optim.Adam, lr=1e-3)
    inputs, targets = (shadow_weights - centre) / spread, shadow_images.flatten(1)
    options = {"batch_size": 256, "n_iter": cell.steps, "generator": seeded(seeds[3])}
    fit(reconstructor, inputs, targets, loss=squared_error, optimizer=adam, schedule="cosine", **options)
    found = predict(reconstructor, (weights - centre) / spread).reshape(images.shape)
    constant = targets.mean(0).reshape(1, *images.shape[1:]).expand_as(images)
    members, others = _scores(found, private, drawn)
    blind_members, blind_others = _scores(constant, private, drawn)
    logits = torch.einsum("vcd,nd->vnc", weights.reshape(cell.victims, 2, 65), _with_one(x_test))
    numbers = {
        "tpr": tpr_at_fpr(members, others, 0.01),
        "success": float((torch.tensor(members) > 0.5).double().mean()),
        "blind_tpr": tpr_at_fpr(blind_members, blind_others, 0.01),
        "blind_success": float((torch.tensor(blind_members) > 0.5).double().mean()),
        "ncc": float(torch.tensor(members).mean()),
        "blind_ncc": float(torch.tensor(blind_members).mean()),
        "accuracy": float((logits.argmax(2) == y_test).double().mean()),
    }
    return {
        **{name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()},
        "train": images[:5].flatten(0, 1).reshape(-1, 8, 8),
        "found": found[:5].flatten(0, 1).reshape(-1, 8, 8),
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


def train_heads(cell: Shadows, pools: list[Tensor], count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Train many heads at once, each on one image a class; return weights, images and which images were drawn."""
    source = seeded(seed)
    drawn = torch.stack([torch.randint(len(pool), (count,), generator=source) for pool in pools], 1)
    images = torch.stack([pool[drawn[:, k]] for k, pool in enumerate(pools)], 1)
    x, labels = _with_one(images), torch.eye(2)
    weights = 0.01 * torch.randn(count, 2, 65, generator=source)
    for _ in range(cell.head_steps):
        error = torch.softmax(torch.einsum("vcd,vnd->vnc", weights, x), 2) - labels
        size = error.norm(dim=2) * x.norm(dim=2)
        clipped = error / size.clamp_min(1.0)[..., None]
        noise = cell.noise * torch.randn(weights.shape, generator=source)
        weights = weights - cell.learning_rate * (torch.einsum("vnc,vnd->vcd", clipped, x) + noise) / len(pools)
    return weights.flatten(1), images, drawn


def _scores(found: Tensor, pools: list[Tensor], drawn: Tensor) -> tuple[list[float], list[float]]:
    """Correlate reconstructions with the images that were trained on, and with all others of the class."""
    members, others = [], []
    for k, pool in enumerate(pools):
        ncc = normalized_correlation(found[:, k], pool)
        mine = torch.zeros_like(ncc, dtype=torch.bool).scatter_(1, drawn[:, k : k + 1], True)
        members += ncc[mine].tolist()
        others += ncc[~mine].tolist()
    return members, others


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)
