"""The rows of saliency maps."""

import torch
from torch import nn

from assay.attribution import NormGrad, class_sensitivity, combine_saliency, make_localization
from assay.attribution.saliency import (
    LocalizationSet,
    VirtualIdentity,
    aggregate,
    box_masks,
    contribution_map,
    deletion_insertion_curve,
    energy_in_box,
    extract,
    gradient_spatial_variance,
    map_correlation,
    plot_saliency,
    plot_token_saliency,
    pointing_hits,
    upsample_saliency,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Module


def _as_positions(model, x):
    """Return the network and its features as positions of one channel: so every network has a map."""
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, x.shape[1:]), model), x.flatten(1)[:, None]


def _maps(model, x, y, generator, batch_size=64):
    rows, x = _as_positions(model, x)
    return [
        NormGrad(rows, None, *options, channel_axis=1, batch_size=batch_size).attribute(x)
        for options in (("conv1x1", "norm"), ("conv3x3", "filter_norm"), ("bias", "max"), ("mean_scaling", "relu_sum"))
    ]


def _meta_maps(model, x, y, generator):
    rows, x = _as_positions(model, x)
    return NormGrad(rows, None, meta_step=0.1, channel_axis=1).attribute(x)


def _variance(model, x, y, generator, batch_size=64):
    rows, x = _as_positions(model, x)
    return gradient_spatial_variance(rows, None, x, channel_axis=1, batch_size=batch_size)


def _sensitivity(model, x, y, generator):
    rows, x = _as_positions(model, x)
    with torch.inference_mode(False):  # as labels of a user's are made before
        first, second = torch.zeros(len(x), dtype=torch.long), torch.ones(len(x), dtype=torch.long)
    attributor, classes = NormGrad(rows, None, channel_axis=1), (first.to(x.device), second.to(x.device))
    return class_sensitivity(attributor, x, method="pearson", classes=classes).per_image


def _curve(model, x, y, generator, batch_size=64):
    rows, x = _as_positions(model, x)
    found = deletion_insertion_curve(rows, x, x, n_iter=4, batch_size=batch_size)
    return found.probabilities, found.auc


def _activation(source, n):
    return torch.randn(2, n, 3, 4, 4, generator=source, dtype=torch.float64).unbind(0)


def _scores(source, n):
    maps = torch.rand(n, 1, 4, 4, generator=source, dtype=torch.float64)
    return maps, torch.rand(n, 1, 4, 4, generator=source) < 0.5


def _made(x, y):
    return make_localization(x + 0.1, y, x + 0.1, 4, size=12).x


def _drawn(x):
    return torch.tensor(
        [len(plot_saliency(x, {"map": x}).axes), len(plot_token_saliency(list("ab"), x.flatten()[:2]).axes)]
    )


ROWS = (
    Analysis(NormGrad, run=_maps),
    Analysis(NormGrad, variant="with a meta step", run=_meta_maps),
    Analysis(gradient_spatial_variance, run=_variance),
    Analysis(deletion_insertion_curve, run=_curve),
    Analysis(class_sensitivity, run=_sensitivity),
    Formula((extract, aggregate), _activation, run=lambda x, g: aggregate(extract(x, g)), refuses=("rows", "empty")),
    Formula(contribution_map, _activation, refuses=("rows", "empty")),
    Formula(map_correlation, _activation, refuses=("rows", "empty")),
    Formula(
        upsample_saliency,
        lambda source, n: (torch.randn(n, 1, 3, 3, generator=source, dtype=torch.float64),),
        run=lambda maps: upsample_saliency(maps, (6, 6)),
    ),
    Formula(
        combine_saliency,
        lambda source, n: torch.rand(2, n, 1, 3, 3, generator=source, dtype=torch.float64).unbind(0),
        run=lambda a, b: combine_saliency([a, b]),
    ),
    Formula(
        (pointing_hits, energy_in_box),
        _scores,
        run=lambda a, b: (pointing_hits(a, b), energy_in_box(a, b)),
        refuses=("rows", "empty"),
    ),
    Formula(
        (box_masks, LocalizationSet),
        lambda source, n: (torch.randint(4, (n, 4), generator=source),),
        run=lambda boxes: box_masks(boxes, 6),
    ),
    Formula(
        make_localization,
        lambda source, n: (torch.rand(n, 1, 5, 5, generator=source, dtype=torch.float64), torch.arange(n)),
        run=_made,
        rowwise=False,
    ),
    Formula(
        (plot_saliency, plot_token_saliency),
        lambda source, n: (torch.rand(n, 1, 3, 3, generator=source, dtype=torch.float64),),
        run=_drawn,
        rowwise=False,
    ),
    Module(
        VirtualIdentity,
        lambda source, n: (torch.randn(n, 3, 4, 4, generator=source, dtype=torch.float64),),
        options={"kind": "conv3x3", "channels": 3},
    ),
)
