"""The rows of similarity of representations."""

import torch

from assay.core import layer_names
from assay.representation import SimilarityMap, compare_networks, linear_cka
from assay.representation.similarity import (
    linear_regression_r2,
    matching_similarity,
    mean_cca,
    procrustes_similarity,
    pwcca,
    rbf_cka,
    svcca,
)
from helpers.rows.base import Analysis
from helpers.rows.representation.matching import more_samples, moved_copy
from helpers.rows.standalone import Formula


def _matrices(source, n):
    rows = torch.randn(n, 5, generator=source, dtype=torch.float64)
    return rows[:, :2], rows[:, 1:3] + 0.5 * rows[:, 3:]


def _map(model, x, y, generator, batch_size=64):
    x = more_samples(x)
    layers = layer_names(model, x)[-1:]
    return compare_networks(model, moved_copy(model), x, layers, layers, batch_size=batch_size, generator=generator)


def _p_values(values):
    null = torch.stack([values - 0.1, values + 0.1])
    return SimilarityMap("cka", ("0",), ("0",), values, null, 9, 9).p_values


ROWS = (
    Analysis(compare_networks, run=_map, mini_batches=True, tolerance=1e-3),
    *(
        Formula(measure, _matrices, rowwise=False)
        for measure in (
            linear_cka,
            rbf_cka,
            mean_cca,
            svcca,
            pwcca,
            procrustes_similarity,
            linear_regression_r2,
            matching_similarity,
        )
    ),
    Formula(
        SimilarityMap,
        lambda source, n: (torch.rand(n, 3, generator=source, dtype=torch.float64),),
        run=_p_values,
        rowwise=False,
        refuses=(),
    ),
)
