"""Networks on all inputs of twelve bits: what their layers tell of the input, by adaptive and by fixed bins."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.core import seeded, spawn_seeds
from assay.representation import adaptive_information, kde_information, trace_information
from assay.representation.information_plane import fixed_information
from assay.studies.representation.adaptive_mutual_information.settings import Settings
from assay.studies.representation.adaptive_mutual_information.training import (
    accuracies,
    network_of,
    splits,
    state_of,
    toy_task,
    train_many,
)

TASK_SEED = 0
FIXED = torch.linspace(-1, 1, 31).tolist()


def trajectories(settings: Settings, activation: str, penalized: bool) -> dict[str, Any]:
    """Train networks of one activation; return the information of their layers, and their accuracies.

    Entries begin with the axes of networks and layers. ReLU networks without a penalty are measured by fixed bins too.
    """
    x, y = toy_task(seeded(TASK_SEED))
    widths, m = (x.shape[1], *settings.widths, 2), settings.n_models
    split_seed, train_seed = spawn_seeds(1 + settings.activations.index(activation), 2)
    train, test = splits(len(x), m, settings.train_share, split_seed)
    weights = train_many(
        x[train],
        y[train],
        widths,
        activation,
        penalty=settings.penalty * penalized,
        epochs=settings.epochs,
        lr=settings.lr,
        batch_size=settings.batch_size,
        generator=seeded(train_seed),
    )
    network, wide = network_of(widths, activation).double(), x.double()
    layers = [str(2 * place + 1) for place in range(len(settings.widths))]
    checkpoints = [
        {epoch: state_of(kept, model) for epoch, kept in zip(settings.epochs, weights, strict=True)}
        for model in range(m)
    ]
    planes = [trace_information(network, wide, y, layers, states, batch_size=len(x)) for states in checkpoints]
    found = {
        "input bits": torch.stack([plane.input_bits for plane in planes]),
        "label bits": torch.stack([plane.label_bits for plane in planes]),
        "compression": torch.stack([plane.compression for plane in planes]),
        "test accuracy": accuracies(weights[-1], activation, x[test], y[test]),
        "training accuracy": accuracies(weights[-1], activation, x[train], y[train]),
    }
    if activation == "relu" and not penalized:
        fixed = partial(fixed_information, edges=FIXED)
        planes = [
            trace_information(network, wide, y, layers, states, estimator=fixed, batch_size=len(x))
            for states in checkpoints
        ]
        found["fixed compression"] = torch.stack([plane.compression for plane in planes])
    return found


def invariance(settings: Settings) -> dict[str, float]:
    """Measure how far estimates move when normal activations of three ReLU units are scaled or mapped."""
    relu = torch.randn(4096, 3, generator=seeded(0), dtype=torch.float64).relu()
    labels = (relu.sum(1) > relu.sum(1).median()).long()
    bits = _input_bits(relu, labels, lower=0.0)
    maps = {
        "times 1e-3": _input_bits(1e-3 * relu, labels, lower=0.0),
        "times 100": _input_bits(100 * relu, labels, lower=0.0),
        "exponential": _input_bits(relu.exp(), labels, lower=1.0),
    }
    few = relu[:1024]
    kernel = [kde_information(factor * few, labels[:1024]).input_bits for factor in (1.0, 1e-3, 100.0)]
    return {
        "adaptive change": max(abs(value - bits) for value in maps.values()),
        "kernel change": max(abs(value - kernel[0]) for value in kernel),
        "adaptive": bits,
        "fixed": fixed_information(relu, labels, edges=FIXED).input_bits,
        "fixed, times 100": fixed_information(100 * relu, labels, edges=FIXED).input_bits,
    }


def _input_bits(activations: Tensor, labels: Tensor, lower: float) -> float:
    return adaptive_information(activations, labels, lower=lower).input_bits
