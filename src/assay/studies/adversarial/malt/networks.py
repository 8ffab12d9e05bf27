"""A robust network of a hundred classes that a laptop can train: pairs of small images, side by side."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.adversarial import PGD, Lp
from assay.core import cross_entropy, seeded
from assay.data import load
from assay.nets import Recipe
from assay.studies.adversarial.malt.settings import Settings

CLASSES = 100
SIDE = 14


def image_pairs(sources: tuple[str, str], split: str, n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs of images side by side, of shape (n, 1, 14, 28), and their labels 10 a + b."""
    halves, label = [], torch.zeros(n, dtype=torch.long)
    for name in sources:
        data = load(name)
        x, y = (data.x_train, data.y_train) if split == "train" else (data.x_test, data.y_test)
        chosen = torch.randint(len(x), (n,), generator=source)
        mode = "area" if x.shape[-1] > SIDE else "bilinear"
        halves.append(F.interpolate(x[chosen], (SIDE, SIDE), mode=mode).clamp(0, 1))
        label = 10 * label + y[chosen]
    return torch.cat(halves, 3), label


def build(recipe: Recipe, source: torch.Generator) -> nn.Module:
    """Return an untrained network for pairs of images."""
    return recipe.build((1, SIDE, 2 * SIDE), CLASSES, source)


def train_robust(settings: Settings, seed: int) -> dict[str, Tensor]:
    """Train against two steps of PGD in the infinity norm (Madry et al., 2018); return the weights."""
    recipe, n, eps, source = settings.recipe, settings.n_train, settings.train_eps, seeded(seed)
    x, y = image_pairs(settings.sources, "train", n, source)
    model = build(recipe, source)
    threat = Lp(norm=math.inf, eps=eps, input_range=(0.0, 1.0))
    attack = PGD(threat, n_iter=2, step_size=0.75 * eps)
    optimizer, batch_size = recipe.new_optimizer(model.parameters()), recipe.batch_size or n
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * math.ceil(n / batch_size))
    for _ in range(recipe.epochs):
        for batch in torch.randperm(n, generator=source).split(batch_size):
            start = threat.random_start(x[batch], generator=source)
            harder = attack(model, x[batch], y[batch], start=start)
            optimizer.zero_grad()
            cross_entropy(model(harder), y[batch]).backward()
            optimizer.step()
            schedule.step()
    return model.state_dict()
