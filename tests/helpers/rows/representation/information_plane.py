"""The rows of the information plane."""

import torch

from assay.core import layer_names
from assay.representation import adaptive_information, entropy_adaptive_codes, kde_information, trace_information
from assay.representation.information_plane import fixed_codes, fixed_information, layer_information
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula

EDGES = {"edges": (-1.0, -0.3, 0.4, 1.0)}


def _activations(source, n):
    return (torch.randn(n, 3, generator=source, dtype=torch.float64),)


def _labelled(source, n):
    return (*_activations(source, n), torch.randint(2, (n,), generator=source))


def _plane(model, x, y, generator, batch_size=64):
    layers, state = layer_names(model, x)[-1:], model.state_dict()
    moved = {name for name, value in model.named_parameters() if value.is_floating_point()}
    later = {name: 1.5 * value if name in moved else value for name, value in state.items()}
    return trace_information(model, x, y, layers, {0: state, 3: later}, batch_size=batch_size)


def _codes(source, n):
    return torch.randint(4, (n, 3), generator=source), torch.randint(2, (n,), generator=source)


ROWS = (
    Formula(entropy_adaptive_codes, _activations, rowwise=False, refuses=("empty",)),
    Formula(fixed_codes, _activations, options=EDGES, refuses=("empty",)),
    Formula(layer_information, _codes, rowwise=False),
    Formula(adaptive_information, _labelled, rowwise=False, refuses=("rows", "empty")),
    Formula(fixed_information, _labelled, options=EDGES, rowwise=False, refuses=("rows", "empty")),
    Formula(kde_information, _labelled, rowwise=False, refuses=("rows", "empty")),
    Analysis(trace_information, run=_plane),
)
