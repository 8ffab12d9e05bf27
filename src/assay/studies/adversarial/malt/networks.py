"""A robust network of a hundred classes that a laptop can train: pairs of small images, side by side."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.adversarial import PGD, Lp
from assay.core import MissingDataError, cross_entropy, seeded
from assay.data import load
from assay.nets import mlp

CLASSES = 100
SIDE = 14
EMBEDDED = ("fashion", "digits")
"""What the pairs are made of where MNIST and Fashion-MNIST are not on this machine."""

Sources = tuple[str, str]


def available(sources: Sources) -> list[str]:
    """Return the wanted data sets, or the embedded ones where those are not on this machine."""
    try:
        for name in sources:
            load(name)
    except MissingDataError:
        return list(EMBEDDED)
    return list(sources)


def image_pairs(sources: Sources, split: str, n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
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


def build(hidden: tuple[int, ...], source: torch.Generator) -> nn.Module:
    """Return an untrained perceptron for pairs of images."""
    return nn.Sequential(nn.Flatten(), *mlp((2 * SIDE**2, *hidden, CLASSES), generator=source))


def train_robust(
    sources: Sources, hidden: tuple[int, ...], *, n_train: int, epochs: int, eps: float, seed: int
) -> dict[str, Tensor]:
    """Train against two steps of PGD in the infinity norm (Madry et al., 2018); return the weights."""
    source = seeded(seed)
    x, y = image_pairs(sources, "train", n_train, source)
    model = build(hidden, source)
    threat = Lp(norm=math.inf, eps=eps, input_range=(0.0, 1.0))
    attack = PGD(threat, n_iter=2, step_size=0.75 * eps)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(n_train / 128))
    for _ in range(epochs):
        for batch in torch.randperm(n_train, generator=source).split(128):
            start = threat.random_start(x[batch], generator=source)
            harder = attack(model, x[batch], y[batch], start=start)
            optimizer.zero_grad()
            cross_entropy(model(harder), y[batch]).backward()
            optimizer.step()
            schedule.step()
    return model.state_dict()
