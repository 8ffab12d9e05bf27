"""The rows of matching units between networks."""

import torch
from torch.nn.parameter import is_lazy

from assay.core import layer_names, seeded
from assay.representation import convergent_learning, match_units, sparse_prediction, unit_redundancy, unit_statistics
from assay.representation.matching import (
    UnitMatching,
    UnitStatistics,
    activation_statistics,
    cluster_units,
    hidden_layers,
    percentile_mutual_information,
    unit_rows,
)
from helpers.rows.base import Analysis
from helpers.rows.standalone import Formula
from helpers.rows.subjects import copied


def moved_copy(model):
    """Return a copy whose weights are moved."""
    other = copied(model)
    with torch.no_grad():
        known = [value for value in other.parameters() if not is_lazy(value) and value.is_floating_point()]
        for value in known:
            value.add_(0.3 * torch.randn(value.shape, generator=seeded(7)).to(value))
    return other


def more_samples(x):
    """Return samples around each, so that a batch of one has correlations too."""
    if not x.is_floating_point() or x.numel() == 0:
        return x
    return torch.cat([x, *(x + 0.1 * torch.randn(x.shape, generator=seeded(seed)).to(x) for seed in range(20))])


def _matrices(source, n):
    return tuple(torch.randn(n, size, generator=source, dtype=torch.float64) for size in (3, 4))


def _statistics(model, x, y, generator, batch_size=64):
    return unit_statistics(model, moved_copy(model), x, layer_names(model, x)[-1], batch_size=batch_size)


def _report(model, x, y, generator, batch_size=64):
    x, layer = more_samples(x), layer_names(model, x)[-1]
    networks = [model, moved_copy(model)]
    report = convergent_learning(networks, x, layer, penalties=(0.0, 0.1), n_clusters=2, batch_size=batch_size)
    (pair,) = report.pairs
    return {"scores": pair.bipartite.scores, "errors": pair.prediction.errors, "between": pair.statistics.between}


def _redundancy(model, x, y, generator, batch_size=64):
    (found, *_) = unit_redundancy(model, x, layer_names(model, x)[-1:], batch_size=batch_size).layers
    return {"largest": found.largest, "rank": found.largest.new_tensor([found.effective_rank])}


ROWS = (
    Analysis((unit_statistics, UnitStatistics), run=_statistics),
    Analysis(convergent_learning, run=_report, tolerance=1e-3),
    Analysis((unit_redundancy, hidden_layers), run=_redundancy),
    Formula(
        activation_statistics,
        _matrices,
        run=lambda a, b: activation_statistics(a, b).between,
        rowwise=False,
    ),
    Formula(match_units, lambda source, n: (torch.rand(n, 9, generator=source, dtype=torch.float64),), rowwise=False),
    Formula(
        UnitMatching,
        lambda source, n: (torch.rand(n, generator=source, dtype=torch.float64),),
        run=lambda scores: UnitMatching(torch.arange(len(scores)), scores).mean,
        rowwise=False,
        refuses=(),
    ),
    Formula(
        sparse_prediction,
        _matrices,
        run=lambda a, b: sparse_prediction(activation_statistics(a, b), penalties=(0.0, 0.1)).errors,
        rowwise=False,
    ),
    Formula(
        cluster_units,
        _matrices,
        run=lambda a, b: cluster_units(activation_statistics(a, b), 2).outside,
        rowwise=False,
    ),
    Formula(percentile_mutual_information, _matrices, rowwise=False),
    Formula(unit_rows, lambda source, n: (torch.randn(n, 3, generator=source),), refuses=()),
)
