"""Deep CCA of pairs of images of one class, and self-supervised learning with a logistic probe."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from assay.core import isolated_rng, predict, seeded, spawn_seeds
from assay.data import load
from assay.nets import mlp
from assay.representation.cca import (
    BarlowTwinsLoss,
    DeepCCA,
    EckartYoungLoss,
    FullCCALoss,
    closed_form_cca,
    fit_deep_cca,
)
from assay.studies.representation.stochastic_cca.settings import Settings

K = 10
NOISE = (0.5, 0.8)
BATCH = 250
LOSSES: dict[str, Any] = {"Eckart-Young": EckartYoungLoss, "full objective": FullCCALoss}
SSL_LOSSES: dict[str, Any] = {"SSL-EY": EckartYoungLoss, "Barlow Twins": BarlowTwinsLoss, "random": None}

Views = tuple[Tensor, Tensor]


def pairs(settings: Settings, data: str, seed: int) -> dict[str, Views]:
    """Return pairs for training, validation and test: an image, another of its class, both with uniform noise."""
    source, found = seeded(seed), load(data)
    n, few = settings.deep_pairs, settings.deep_pairs // 4
    x, y = found.x_train.flatten(1), found.y_train
    order = torch.randperm(len(x), generator=source)
    first = math.floor(len(x) * n / (n + few)) if len(x) < n + few else n
    parts = {
        "train": (x[order[:first]], y[order[:first]]),
        "validation": (x[order[first : first + few]], y[order[first : first + few]]),
        "test": (found.x_test.flatten(1)[:few], found.y_test[:few]),
    }
    noisy = {name: _noisy_pairs(images, labels, source) for name, (images, labels) in parts.items()}
    means = [view.mean(0) for view in noisy["train"]]
    return {name: (views[0] - means[0], views[1] - means[1]) for name, views in noisy.items()}


def _noisy_pairs(x: Tensor, y: Tensor, source: torch.Generator) -> Views:
    other = torch.empty(len(y), dtype=torch.long)
    for label in y.unique():
        members = (y == label).nonzero()[:, 0]
        shuffled = members[torch.randperm(len(members), generator=source)]
        other[shuffled] = shuffled.roll(1)  # a cycle through the class: never the image itself
    views = [
        (images + size * torch.rand(images.shape, generator=source)).clamp(0, 1)
        for images, size in zip((x, x[other]), NOISE, strict=True)
    ]
    return views[0], views[1]


def captured(train: Sequence[Tensor], held_out: Sequence[Tensor], ridge: float = 0.0) -> float:
    """Fit a CCA on training codes, and sum its correlations on held-out codes."""
    return float(closed_form_cca(train, K, ridge=ridge).correlations(held_out).sum())


def linear_reference(settings: Settings, data: str, seed: int) -> dict[str, float]:
    """Return the test correlation of linear CCA with the ridge that is best on the validation pairs."""
    parts = pairs(settings, data, seed)
    best = max(settings.linear_ridges, key=lambda ridge: captured(parts["train"], parts["validation"], ridge))
    return {"correlation": captured(parts["train"], parts["test"], best), "ridge": best}


def deep(settings: Settings, data: str, loss: str, batch: int, seed: int) -> dict[str, float]:
    """Train encoders at each learning rate; return the test correlation of the one that is best in validation."""
    parts, outcomes = pairs(settings, data, seed), []
    for rate in settings.deep_rates:
        weights = seeded(seed)
        model = DeepCCA([mlp((784, 256, 128, K), generator=weights) for _ in range(2)])
        fit_deep_cca(
            model,
            parts["train"],
            optimizer=partial(torch.optim.Adam, lr=rate),
            epochs=settings.deep_epochs,
            batch_size=batch,
            loss=LOSSES[loss](),
            generator=weights,
        )
        codes = {name: model.codes(views) for name, views in parts.items()}
        scores = [captured(codes["train"], codes[name]) for name in ("validation", "test")]
        outcomes.append((scores[0], scores[1], rate))
    best = max(outcomes)
    return {"correlation": best[1], "rate": best[2]}


def self_supervised(settings: Settings, data: str, loss: str, seed: int) -> dict[str, float]:
    """Train a small convolutional network on two augmentations, and return the accuracy of a probe on its features."""
    found, (weights, draws) = load(data), spawn_seeds(seed, 2)
    backbone, projector = networks(weights)
    x, source = found.x_train[: settings.ssl_images], seeded(draws)
    if SSL_LOSSES[loss] is not None:
        model, objective = nn.Sequential(backbone, projector), SSL_LOSSES[loss]()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(settings.ssl_epochs):
            for index in torch.randperm(len(x), generator=source).split(BATCH):
                images = x[index]
                value = objective(model(augmented(images, source)), model(augmented(images, source)))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
    else:
        with torch.no_grad():  # batch-norm's statistics, which training would have given
            for part in x.split(BATCH):
                backbone(augmented(part, source))
    probe = slice(0, settings.probe_images)
    features = [predict(backbone, part[probe], batch_size=500) for part in (found.x_train, found.x_test)]
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=0.1))
    head.fit(features[0].numpy(), found.y_train[probe].numpy())
    return {"accuracy": float(head.score(features[1].numpy(), found.y_test[probe].numpy()))}


def networks(seed: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return a network of three strided convolutions with batch-norm, and a projector."""
    with isolated_rng(seed):
        layers: list[nn.Module] = []
        for n_in, n_out in ((1, 32), (32, 64), (64, 128)):
            convolution = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]
        backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        projector = nn.Sequential(nn.Linear(128, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64))
    return backbone, projector


def augmented(x: Tensor, source: torch.Generator) -> Tensor:
    """Return images under random scaling, rotation, flips, shifts and contrast, with noise."""
    n = len(x)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=source)

    scale, angle = uniform(0.5, 0.9), uniform(-0.3, 0.3)
    flip = 1 - 2 * torch.randint(2, (n,), generator=source)
    rows = [
        torch.stack([flip * scale * angle.cos(), -scale * angle.sin(), uniform(-0.2, 0.2)], 1),
        torch.stack([flip * scale * angle.sin(), scale * angle.cos(), uniform(-0.2, 0.2)], 1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    moved = nn.functional.grid_sample(x, grid, align_corners=False)
    contrast = uniform(0.6, 1.4).reshape(-1, 1, 1, 1)
    return contrast * moved + 0.05 * torch.randn(x.shape, generator=source)
