"""The rows of diffusion entropy."""

import torch

from assay.core import layer_names, unwrapped
from assay.representation import (
    DiffusionSpectralEntropyLoss,
    diffusion_spectral_entropy,
    diffusion_spectral_mutual_information,
    entropy_by_layer,
    representation_trajectory,
)
from assay.representation.diffusion_entropy import (
    GaussianKernelOperator,
    binned_entropy,
    binned_mutual_information,
    cluster_reference,
    diffusion_eigenvalues,
    diffusion_time,
    median_bandwidth,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula, Module


def _rows(source, n):
    return (torch.randn(n, 3, generator=source, dtype=torch.float64),)


def _pairs(source, n):
    return (*_rows(source, n), torch.arange(n) % 2)


def _apart(source, n):
    x = torch.randn(n, 2, generator=source, dtype=torch.float64)
    return (x + 50.0 * (torch.arange(n) % 2)[:, None],)


OPTIONS = {"n_repeats": 2, "sigma": 1.0}


def _layers(model, x, y, generator, batch_size=5):
    layers = layer_names(unwrapped(model), x)[:2]
    reference = torch.arange(len(x)) % 2
    options = {"generator": generator, "batch_size": batch_size, "reference": reference}
    return entropy_by_layer(model, x, y, layers=layers, **options, **OPTIONS)


def _trajectory(model, x, y, generator, batch_size=5):
    layer, states = layer_names(unwrapped(model), x)[0], 2 * [model.state_dict()]
    reference = torch.arange(len(x)) % 2
    options = {"generator": generator, "batch_size": batch_size, "reference": reference}
    return representation_trajectory(model, x, y, layer=layer, checkpoints=states, **options, **OPTIONS)


def _two_groups(x):
    return torch.bincount(cluster_reference(x, 2), minlength=2).sort().values


ROWS = (
    Analysis(entropy_by_layer, run=_layers, random=True),
    Analysis(representation_trajectory, run=_trajectory, random=True),
    Formula(diffusion_spectral_entropy, _rows, options={"sigma": 1.0}, rowwise=False, refuses=("empty",)),
    Formula(
        diffusion_spectral_mutual_information,
        _pairs,
        options={"sigma": 1.0},
        rowwise=False,
        refuses=("rows", "empty"),
    ),
    Formula(diffusion_eigenvalues, _rows, options={"sigma": 1.0}, rowwise=False, refuses=("empty",)),
    Formula(
        GaussianKernelOperator,
        _rows,
        run=lambda x: GaussianKernelOperator(x, 1.0).to_dense().to(x.dtype),
        rowwise=False,
        refuses=("empty",),
    ),
    Formula(median_bandwidth, _rows, rowwise=False, refuses=("empty",)),
    Formula(
        diffusion_time,
        lambda source, n: (torch.rand(n, generator=source, dtype=torch.float64),),
        rowwise=False,
        refuses=("axis", "empty"),
    ),
    Formula(cluster_reference, _apart, run=_two_groups, rowwise=False, refuses=("empty",)),
    Formula(binned_entropy, _rows, rowwise=False, refuses=("empty",)),
    Formula(binned_mutual_information, _pairs, rowwise=False, refuses=("rows", "empty")),
    Module(DiffusionSpectralEntropyLoss, _rows, options={"sigma": 1.0}, rowwise=False, refuses=("empty",)),
)
