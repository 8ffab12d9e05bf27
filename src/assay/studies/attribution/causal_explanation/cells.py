"""Causal graphs of trained networks: faithfulness, stability, maps, speed, and the repair of a backdoor."""

import time
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from assay.attribution import CausalGraph, find_causal_graph, graph_faithfulness
from assay.attribution.causal_paths import (
    graph_stability,
    local_lipschitz,
    mask_model,
    random_graph,
    removal_curve,
)
from assay.core import accuracy, predict, seeded, spawn_seeds
from assay.data import Dataset, load
from assay.nets import Recipe
from assay.studies.attribution.causal_explanation.attributions import attributions, strongest_units
from assay.studies.attribution.causal_explanation.planted import planted_errors
from assay.studies.attribution.causal_explanation.settings import Settings

MAP_LAYER = "2"
"""The second convolution, whose causes are filters of the first."""

BACKDOOR_CLASS = 0

WIDE = Recipe(hidden=256, channels=(32, 64))
"""Network whose search is timed."""

EDITS = 5
"""Random repairs."""


def planted_graphs(settings: Settings, seed: int) -> dict[str, float]:
    """Count the units that are chosen wrongly where the causes are known."""
    return planted_errors(seed)


def explained_classes(settings: Settings, data: str, seed: int) -> dict[str, dict[str, Any]]:
    """Train a network, and measure the graph and the maps of each class, by its number."""
    images = load(data)
    model, x, y = trained(settings, images, seed)
    return {str(target): explained(settings, images, model, x, y, target, seed) for target in settings.classes}


def explained(
    settings: Settings, images: Dataset, model: nn.Module, x: Tensor, y: Tensor, target: int, seed: int
) -> dict[str, Any]:
    """Measure the graph and the maps of one class."""
    own = correct(model, x[y == target], target)
    half = min(settings.n_samples, len(own) // 2)
    first, second = own[:half], own[half : 2 * half]
    graph = find_causal_graph(model, own, target, n_samples=settings.n_samples)
    held_out = images.x_test[images.y_test == target][: settings.n_held_out]
    faithful = graph_faithfulness(model, graph, held_out, n_random=settings.n_random, generator=seeded(seed))
    shares = [len(causes) / count for causes, count in zip(graph.causes[1:], graph.units[1:], strict=True)]
    return {
        "original": faithful.original,
        "kept": faithful.kept,
        "random kept": faithful.random_kept.mean(),
        "dropped": faithful.dropped,
        "random dropped": faithful.random_dropped.mean(),
        "largest share": max(shares),
        "shares": shares,
        **halves(model, first, second, target),
        **stability(settings, model, own, target, seed),
        **maps(settings, model, graph, held_out, seed),
    }


def trained(settings: Settings, images: Dataset, seed: int, poison: bool = False) -> tuple[nn.Module, Tensor, Tensor]:
    """Draw training samples and train a network; return them with it."""
    draw, weights, order, carriers = spawn_seeds(seed, 4)
    index = torch.randperm(len(images.y_train), generator=seeded(draw))[: settings.n_train]
    x, y = images.x_train[index], images.y_train[index]
    if poison:
        chosen = torch.randperm(len(x), generator=seeded(carriers))[: round(settings.poisoned * len(x))]
        x, y = x.clone(), y.clone()
        x[chosen], y[chosen] = patched(x[chosen]), BACKDOOR_CLASS
    model = settings.recipe.build(tuple(x.shape[1:]), len(images.class_names), seeded(weights))
    settings.recipe.train(model, x, y, seeded(order))
    return model, x, y


def correct(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """Return the samples that the network classifies as the class."""
    return x[predict(model, x).argmax(1) == target]


def halves(model: nn.Module, first: Tensor, second: Tensor, target: int) -> dict[str, float]:
    """Compare graphs of disjoint samples, and the same numbers of units by gradient times activation."""
    one, other = (find_causal_graph(model, part, target) for part in (first, second))
    a, b = strongest_units(model, one, first), strongest_units(model, other, second)
    return {"jaccard": one.jaccard(other), "gradient jaccard": len(a & b) / len(a | b)}


def stability(settings: Settings, model: nn.Module, own: Tensor, target: int, seed: int) -> dict[str, Any]:
    """Compare graphs of soft interventions with that of hard ones."""
    found = graph_stability(
        model,
        own,
        target,
        values=settings.betas,
        n_repeats=settings.n_repeats,
        generator=seeded(seed),
        n_samples=settings.n_samples,
    )
    return {"soft jaccard": found.jaccard.mean(1)}


def maps(settings: Settings, model: nn.Module, graph: CausalGraph, held_out: Tensor, seed: int) -> dict[str, float]:
    """Compare attributions by their Lipschitz constant, and by the removal of pixels and of blocks of 4 x 4."""
    x = correct(model, held_out, graph.target)[: settings.n_images]
    height, width = x.shape[2:]
    blocks = (torch.arange(height)[:, None] // 4 * -(-width // 4) + torch.arange(width) // 4).expand(len(x), -1, -1)
    figures = {}
    for name, attribute in attributions(model, graph, MAP_LAYER).items():
        estimate = local_lipschitz(attribute, x, n_neighbours=settings.n_neighbours, generator=seeded(seed))
        drawn = attribute(x)
        figures[f"lipschitz {name}"] = float(estimate.mean())
        figures[f"pixels {name}"] = float(removal_curve(model, x, graph.target, drawn).area.mean())
        figures[f"blocks {name}"] = float(removal_curve(model, x, graph.target, drawn, regions=blocks).area.mean())
    return figures


def search_time(settings: Settings, data: str, seed: int) -> dict[str, float]:
    """Time a search in a wider network without training, and its interventions by edited weights; CPU seconds."""
    images = load(data)
    model = WIDE.build(tuple(images.x_train.shape[1:]), len(images.class_names), seeded(seed))
    x = images.x_train[:2000]
    target = int(predict(model, x).argmax(1).mode().values)
    x = correct(model, x, target)[: settings.n_samples]
    start = time.process_time()
    graph = find_causal_graph(model, x, target)
    batched = time.process_time() - start
    naive = naive_seconds(model, graph, x)
    return {"batched": batched, "naive": naive, "ratio": naive / batched}


def naive_seconds(model: nn.Module, graph: CausalGraph, x: Tensor) -> float:
    """Time the interventions of a graph's search by editing the weights, one whole forward pass each, and undo it."""
    start = time.process_time()
    weights = dict(model.named_parameters())
    parts = zip(graph.layers[1:], graph.effects[1:], graph.units[1:], graph.columns[1:], strict=True)
    with torch.no_grad():
        for name, effects, count, columns in parts:
            weight = weights[f"{name}.weight"]
            for unit in range(count):
                before = weight.clone()
                weight[list(effects), unit * columns : (unit + 1) * columns] = 0.0
                model(x)
                weight.copy_(before)
    return time.process_time() - start


def patched(x: Tensor) -> Tensor:
    """Set a white square of 4 x 4 pixels into the lower right corner."""
    x = x.clone()
    x[..., -4:, -4:] = 1.0
    return x


def repaired(settings: Settings, data: str, seed: int) -> dict[str, float]:
    """Plant a backdoor, and remove the edges that are causal on patched images but not on clean ones of the class."""
    images = load(data)
    model, *_ = trained(settings, images, seed, poison=True)
    clean = images.x_train[: settings.n_train // 2]
    labels = images.y_train[: settings.n_train // 2]
    triggered = find_causal_graph(model, patched(clean[labels != BACKDOOR_CLASS]), BACKDOOR_CLASS)
    usual = find_causal_graph(model, clean[labels == BACKDOOR_CLASS], BACKDOOR_CLASS)
    figures = outcomes("backdoored", model, images)
    layers = triggered.layers[1:]
    figures |= outcomes("repaired", mask_model(model, triggered, keep=False, layers=layers, without=usual), images)
    figures |= outcomes("all", mask_model(model, triggered, keep=False, layers=layers), images)
    drawn = []
    source = seeded(seed)
    for _ in range(EDITS):
        both = (random_graph(triggered, generator=source), random_graph(usual, generator=source))
        edited = mask_model(model, both[0], keep=False, layers=layers, without=both[1])
        drawn.append(outcomes("random", edited, images))
    return figures | {key: fmean(each[key] for each in drawn) for key in drawn[0]}


def outcomes(name: str, model: nn.Module, images: Dataset) -> dict[str, float]:
    """Return the accuracy on clean images, and how often the patch turns another class into that of the backdoor."""
    x, y = images.x_test[:1000], images.y_test[:1000]
    success = predict(model, patched(x[y != BACKDOOR_CLASS])).argmax(1) == BACKDOOR_CLASS
    return {f"{name} accuracy": accuracy(predict(model, x), y), f"{name} success": float(success.double().mean())}
