"""A small problem of dataset condensation."""

import torch

from assay.core import seeded
from assay.nets import mlp
from assay.privacy import DatasetCondenser


def build(source):
    """Return a network of six inputs and three classes."""
    return mlp((6, 5, 3), generator=source)


def samples(n=30):
    """Return samples of three classes in turn."""
    return torch.randn(n, 6, generator=seeded(0), dtype=torch.float64), torch.arange(n) % 3


def condense(**options):
    """Return a condenser to two samples a class, with little work to do."""
    return DatasetCondenser(
        2, **{"model_fn": build, "n_outer_iter": 2, "n_inner_iter": 2, "net_epochs": 3, "outer_warmup": 1} | options
    )
