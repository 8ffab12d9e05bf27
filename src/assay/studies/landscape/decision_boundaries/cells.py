"""Decision regions of networks on digits: by architecture, by random features, and by width with noisy labels."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import (
    StackedTrainer,
    accuracy,
    cross_entropy,
    fit,
    predict,
    seeded,
    spawn_seeds,
)
from assay.data import load
from assay.landscape.regions import (
    directional_margin,
    fragmentation_score,
    path_class_changes,
    plane_predictions,
    reproducibility_matrix,
    reproducibility_score,
    sample_planes,
)
from assay.nets import mlp, small_conv
from assay.studies.landscape.decision_boundaries.settings import Settings

FAMILIES = ("narrow MLP", "wide MLP", "CNN")


def architectures(settings: Settings, seed: int) -> dict[str, Any]:
    """Train two networks of each family from different starts, and compare their regions on the same planes."""
    digits = load("digits")
    planes = sample_planes(digits.x_test, digits.y_test, n=settings.planes, generator=seeded(seed))
    adam = partial(torch.optim.Adam, lr=2e-3)
    maps: dict[str, list[Tensor]] = {}
    accuracies = {}
    for family in FAMILIES:
        for own in spawn_seeds(seed, 2):
            model = build(family, settings, own)
            options = {"batch_size": 64, "schedule": "cosine", "generator": seeded(own)}
            fit(
                model,
                digits.x_train,
                digits.y_train,
                loss=cross_entropy,
                optimizer=adam,
                epochs=settings.epochs,
                **options,
            )
            maps.setdefault(family, []).append(plane_predictions(model, planes, resolution=settings.resolution))
            accuracies[f"accuracy of the {family}"] = accuracy(predict(model, digits.x_test), digits.y_test)
    found = reproducibility_matrix(maps)
    scores = {
        f"{a} and {b}": found.scores[i, j].item()
        for i, a in enumerate(FAMILIES)
        for j, b in enumerate(FAMILIES)
        if i <= j
    }
    return scores | accuracies | {"chance": found.chance.mean().item()}


def build(family: str, settings: Settings, seed: int) -> nn.Module:
    """Return an untrained network of a family."""
    if family == "CNN":
        return small_conv((1, 8, 8), 10, generator=seeded(seed))
    width = settings.wide if family == "wide MLP" else settings.narrow
    return nn.Sequential(nn.Flatten(), *mlp((64, width, 10), generator=seeded(seed)))


def random_features(settings: Settings, classes: int, noise: float, width: int, seed: int) -> dict[str, float]:
    """Fit two minimum-norm classifiers on different random features of the same noisy digits, and compare them."""
    digits = load("digits")
    train, test = digits.y_train < classes, digits.y_test < classes
    source = seeded(seed)
    chosen = train.nonzero().flatten()[torch.randperm(int(train.sum()), generator=source)[: settings.feature_samples]]
    x, y = digits.x_train[chosen].flatten(1).double(), digits.y_train[chosen]
    labels = flipped(y, noise, classes, source)
    held_x, held_y = digits.x_test[test].flatten(1).double(), digits.y_test[test]
    planes = sample_planes(held_x, held_y, n=settings.feature_planes, generator=source)
    models = [minimum_norm(x, labels, classes, width, seeded(own)) for own in spawn_seeds(seed, 2)]
    maps = [plane_predictions(model, planes, resolution=settings.feature_resolution) for model in models]
    alike = reproducibility_score(*maps)
    return {
        "reproducibility": alike.score,
        "chance": alike.chance,
        "fragmentation": sum(fragmentation_score(found).mean for found in maps) / 2,
        "test accuracy": sum(accuracy(predict(model, held_x), held_y) for model in models) / 2,
    }


def minimum_norm(x: Tensor, y: Tensor, classes: int, width: int, source: torch.Generator) -> nn.Module:
    """Return the least-squares classifier of least norm on random ReLU features."""
    model = mlp((x.shape[1], width, classes), bias="first").double()
    hidden, output = model[0], model[2]
    with torch.no_grad():
        hidden.weight.copy_(torch.randn(hidden.weight.shape, generator=source, dtype=x.dtype) / 8)  # pyright: ignore[reportCallIssue, reportArgumentType]
        hidden.bias.copy_(torch.randn(width, generator=source, dtype=x.dtype) / 2)  # pyright: ignore[reportCallIssue]
        features = hidden(x).relu() / width**0.5
        targets = nn.functional.one_hot(y, classes).to(x) - 1 / classes
        # The driver "gelsd" gives the solution of least norm where the features are of low rank.
        output.weight.copy_(torch.linalg.lstsq(features, targets, driver="gelsd").solution.T / width**0.5)  # pyright: ignore[reportCallIssue]
    return model


def noisy_networks(settings: Settings, width: int, seed: int) -> dict[str, Any]:
    """Train two networks of a width on the same noisy digits until they interpolate, and compare their regions."""
    digits = load("digits")
    source = seeded(seed)
    chosen = torch.randperm(len(digits.x_train), generator=source)[: settings.net_samples]
    x, clean = digits.x_train[chosen].flatten(1), digits.y_train[chosen]
    y = flipped(clean, settings.noise, 10, source)
    held_x, held_y = digits.x_test.flatten(1), digits.y_test
    planes = sample_planes(held_x, held_y, n=settings.net_planes, generator=source)
    models = [mlp((64, width, 10), generator=seeded(own)) for own in spawn_seeds(seed, 2)]
    adam = partial(torch.optim.Adam, lr=1e-3 if width >= 100 else 5e-3)
    trainer = StackedTrainer(cross_entropy, adam, epochs=settings.net_steps, batch_size=len(x))
    trainer(models, x, y, torch.ones(2, len(x), dtype=torch.bool), generator=source)
    maps = [plane_predictions(model, planes, resolution=settings.feature_resolution) for model in models]
    found = {
        "train accuracy": sum(accuracy(predict(model, x), y) for model in models) / 2,
        "test accuracy": sum(accuracy(predict(model, held_x), held_y) for model in models) / 2,
        "reproducibility": reproducibility_score(*maps).score,
        "fragmentation": sum(fragmentation_score(regions).mean for regions in maps) / 2,
    }
    pairs = x[: len(x) // 2], x[len(x) // 2 : 2 * (len(x) // 2)]
    found["class changes"] = path_class_changes(models[0], *pairs).double().mean().item()
    deltas = torch.linspace(0.02, 8, 400)
    for name, kind in (("mislabelled", y != clean), ("correct", y == clean)):
        some = x[kind][: settings.margin_samples]
        margins = directional_margin(models[0], some, x, deltas=deltas, generator=source).margins
        found[f"margin of {name}"] = margins.mean().item()
    return found


def flipped(y: Tensor, noise: float, classes: int, source: torch.Generator) -> Tensor:
    """Return labels of which the share `noise` of each class is replaced by a random other class."""
    noisy = y.clone()
    for label in range(classes):
        own = (y == label).nonzero().flatten()
        some = own[torch.randperm(len(own), generator=source)[: round(noise * len(own))]]
        noisy[some] = (label + torch.randint(1, classes, (len(some),), generator=source)) % classes
    return noisy
