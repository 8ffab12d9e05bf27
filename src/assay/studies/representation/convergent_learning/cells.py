"""Pairs of networks that differ in their seed: how well the units of one are found in the other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import accuracy, layer_outputs, predict, seeded, spawn_seeds
from assay.data import Dataset, load
from assay.nets import Recipe
from assay.representation import match_units, sparse_prediction, unit_statistics
from assay.representation.matching import (
    PairAlignment,
    UnitStatistics,
    cluster_units,
    convergent_learning,
    percentile_mutual_information,
)
from assay.studies.representation.convergent_learning.settings import Settings

Values = dict[str, Any]


def pair_of_networks(
    recipe: Recipe, data: Dataset, n: int | None, seed: int
) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return two networks before and after training, with seeds of their own for weights and order of the data."""
    x, y = data.x_train[:n], data.y_train[:n]
    shape, n_classes = tuple(x.shape[1:]), len(data.class_names)
    trained, untrained = [], []
    for weights, order in zip(*2 * [iter(spawn_seeds(seed, 4))], strict=True):
        untrained.append(recipe.build(shape, n_classes, seeded(weights)))
        model = recipe.build(shape, n_classes, seeded(weights))
        recipe.train(model, x, y, seeded(order))
        trained.append(model)
    return trained, untrained


def exact_controls(settings: Settings) -> Values:
    """Match a network with a copy whose units are permuted."""
    data = load("digits")
    recipe, x = settings.dense, data.x_test
    model, copy = (recipe.build((1, 8, 8), 10, seeded(0)) for _ in range(2))
    for network in (model, copy):
        recipe.train(network, data.x_train, data.y_train, seeded(1))
    hidden = next(name for name, layer in copy.named_modules() if isinstance(layer, nn.Linear))
    layer = copy.get_submodule(hidden)
    assert isinstance(layer, nn.Linear)
    planted = torch.randperm(layer.out_features, generator=seeded(2))
    with torch.no_grad():
        layer.weight.copy_(layer.weight[planted])
        layer.bias.copy_(layer.bias[planted])
    found = unit_statistics(model, copy, x, relu_layers(model)[0]).live()
    matching = match_units(found.between)
    right = planted[found.units_b[matching.permutation]] == found.units_a
    return {"units in place": float(right.double().mean()), "least": float(matching.scores.min()), "live": len(right)}


def dense_pair(settings: Settings, seed: int) -> Values:
    """Align both hidden layers of two perceptrons on the digits."""
    data = load("digits")
    trained, untrained = pair_of_networks(settings.dense, data, None, seed)
    return compare(settings, trained, untrained, data.x_test[: settings.held_out], data, seed)


def conv_pair(settings: Settings, seed: int, name: str) -> Values:
    """Align the three convolutions of two networks on images of clothes."""
    data = load(name)
    trained, untrained = pair_of_networks(settings.conv, data, settings.conv_samples, seed)
    return compare(settings, trained, untrained, data.x_test[: settings.held_out], data, seed)


def compare(
    settings: Settings, trained: list[nn.Module], untrained: list[nn.Module], x: Tensor, data: Dataset, seed: int
) -> Values:
    """Measure the alignments of each hidden layer; values have one entry a layer."""
    layers = relu_layers(trained[0])
    if any(isinstance(layer, nn.Conv2d) for layer in trained[0].modules()):
        layers = layers[:-1]  # the dense one is not part of the question
    found: dict[str, list[Any]] = {}
    for name in layers:
        pair = alignment(trained, x, name, settings, seed)
        before = alignment(untrained, x, name, settings, seed)
        rotated = pair.statistics.rotated(seeded(seed)).between.abs()
        values = {
            **summary(pair),
            **{f"untrained {key}": value for key, value in summary(before).items()},
            "rotated match": match_units(rotated).mean,
            "absolute match": match_units(pair.statistics.between.abs()).mean,
            "redundancy": largest_other(pair.statistics),
        }
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    scores = [sorted_scores(trained, x, name) for name in layers]
    return {
        **{key: torch.tensor(value, dtype=torch.float64) for key, value in found.items()},
        **{f"scores {place}": score for place, score in enumerate(scores, 1)},
        "accuracy": sum(accuracy(predict(model, data.x_test), data.y_test) for model in trained) / 2,
    }


def alignment(models: Sequence[nn.Module], x: Tensor, layer: str, settings: Settings, seed: int) -> PairAlignment:
    """Return the alignments of one layer of two networks."""
    report = convergent_learning(models, x, layer, penalties=settings.penalties, generator=seeded(seed))
    return report.pairs[0]


def summary(pair: PairAlignment) -> Values:
    """Return the figures of one pair and layer; those of sparse prediction have one entry a penalty."""
    scores = pair.bipartite.scores
    return {
        "match": pair.bipartite.mean,
        "semi": pair.semi.mean,
        "shuffled": pair.shuffled.mean,
        "above 0.8": pair.bipartite.share_above(0.8),
        "below 0.4": float((scores < 0.4).double().mean()),
        "best below 0.4": float((pair.semi.scores < 0.4).double().mean()),
        "one-to-one r2": 1 - pair.one_to_one_error,
        "errors": pair.prediction.errors.mean(1).tolist(),
        "sources": pair.prediction.n_sources.mean(1).tolist(),
        "units": len(scores),
        "dead": sum(pair.n_dead) / 2,
    }


def largest_other(statistics: UnitStatistics) -> float:
    """Return the mean over units of the largest correlation with another unit of the same network."""
    within = statistics.within_a.clone().fill_diagonal_(-1.0)
    return float(within.max(1).values.mean())


def sorted_scores(models: Sequence[nn.Module], x: Tensor, layer: str) -> Tensor:
    """Return matched correlations in descending order, of all units: 0 for dead ones."""
    found = unit_statistics(models[0], models[1], x, layer)
    return match_units(found.between).scores.sort(descending=True).values


def clustered_pair(settings: Settings, seed: int) -> Values:
    """Cluster the units of two wide perceptrons together, and match them by correlation and by information."""
    data = load("digits")
    trained, _ = pair_of_networks(settings.wide, data, None, seed)
    x = data.x_test[: settings.held_out]
    layer = relu_layers(trained[0])[0]
    statistics = unit_statistics(trained[0], trained[1], x, layer).live()
    found = cluster_units(statistics, settings.clusters, random_state=seed)
    a, b = (layer_outputs(model, x, [layer])[layer] for model in trained)
    information = percentile_mutual_information(a[:, statistics.units_a], b[:, statistics.units_b])
    by_correlation, by_information = match_units(statistics.between), match_units(information)
    rows = torch.arange(len(information))
    path = sparse_prediction(statistics, penalties=settings.penalties)
    return {
        "inside": found.inside,
        "outside": found.outside,
        "permuted": found.permuted,
        "one-sided": found.n_one_sided,
        "clusters": len(found.sizes),
        "same partner": float((by_correlation.permutation == by_information.permutation).double().mean()),
        "match": by_correlation.mean,
        "match by information": float(statistics.between[rows, by_information.permutation].mean()),
        "sources": float(path.n_sources.mean(1)[-1]),
    }


def relu_layers(model: nn.Module) -> list[str]:
    """Name the layers behind a ReLU."""
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.ReLU)]
