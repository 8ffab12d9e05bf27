"""Tests of saliency maps: deletion beside random orders, and maps of networks with new weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.attribution.saliency import (
    SALIENCY_METHODS,
    NormGrad,
    combine_saliency,
    deletion_insertion_curve,
    map_correlation,
    upsample_saliency,
)
from assay.audit.probe import Context
from assay.audit.reinitialization import reinitialized
from assay.core import copy_network, named_parameters, predict

_ORDERS, _STEPS = 3, 10


@dataclass(frozen=True)
class MapScores:
    """Of each sample: its map, areas under deletion curves, and correlations with maps of networks with new weights."""

    maps: Tensor
    ordered: Tensor
    random: Tensor
    alike: dict[str, Tensor]


def saliency_maps(model: nn.Module, layers: list[str | None], x: Tensor, classes: Tensor) -> Tensor:
    """Return maps of classes at the size of the samples, multiplied over the layers; None is the input."""
    size = tuple(x.shape[2:] if x.ndim > 2 else x.shape[1:])
    if x.ndim == 2 and x.is_floating_point():  # features: positions of a single channel
        rows = nn.Sequential(nn.Flatten(), model)
        attributor = NormGrad(rows, None, *SALIENCY_METHODS["gradient"], channel_axis=1)
        return upsample_saliency(attributor.attribute(x[:, None], classes), size)
    if layers == [None]:
        return upsample_saliency(NormGrad(model, None, *SALIENCY_METHODS["gradient"]).attribute(x, classes), size)
    return combine_saliency([NormGrad(model, layer).attribute(x, classes) for layer in layers], size=size)


def map_scorer(
    model: nn.Module, layers: list[str | None], pool: Tensor, context: Context
) -> Callable[[Tensor], MapScores]:
    """Return what is done for samples: maps, deletion in their order and at random, maps of new weights."""
    networks = _renewed(model, context)
    mean = pool[:1000].mean(0) if pool.is_floating_point() else None

    def work(x: Tensor) -> MapScores:
        source = context.generator()
        classes = predicted_classes(predict(model, x))
        maps = saliency_maps(model, layers, x, classes)
        baseline = x.roll(1, 0) if mean is None else mean

        def area(order: Tensor) -> Tensor:
            return (
                deletion_insertion_curve(model, x, order, classes, baseline=baseline, n_iter=_STEPS).auc.double().cpu()
            )

        drawn = [torch.rand(maps.shape, generator=source).to(maps) for _ in range(_ORDERS)]
        return MapScores(
            maps,
            area(_without_ties(maps, source)),
            torch.stack([area(order) for order in drawn]).mean(0),
            {name: _correlations(maps, saliency_maps(other, layers, x, classes)) for name, other in networks.items()},
        )

    return work


def _without_ties(maps: Tensor, source: torch.Generator) -> Tensor:
    """Return ranks of positions, equal values in random order."""
    flat = maps.flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=source).to(flat.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, stable=True)]
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).to(maps).reshape(maps.shape)


def _correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return rank correlations of the samples whose maps are not constant."""
    vary = [value.flatten(1).amax(1) > value.flatten(1).amin(1) for value in (a, b)]
    some = vary[0] & vary[1]
    return map_correlation(a[some], b[some]).double().cpu() if some.any() else torch.zeros(0)


def _renewed(model: nn.Module, context: Context) -> dict[str, nn.Module]:
    """Return networks with new weights in the last third of the parameters, in two thirds, and in all."""
    fresh = reinitialized(model, context.generator())
    drawn, names = named_parameters(fresh), list(named_parameters(model))
    found: dict[str, nn.Module] = {}
    for third, name in ((1, "weights in the last third"), (2, "weights in the last two thirds")):
        partly = copy_network(model)
        own = dict(partly.named_parameters())
        with torch.no_grad():
            for key in names[len(names) * (3 - third) // 3 :]:
                own[key].copy_(drawn[key])
        found[name] = partly
    return found | {"all weights": fresh}


def predicted_classes(outputs: Tensor) -> Tensor:
    """Return the class of the highest score, or that of the sign of a single one."""
    rows = outputs.reshape(len(outputs), -1)
    return (rows[:, 0] > 0).long() if rows.shape[1] == 1 else rows.argmax(1)
