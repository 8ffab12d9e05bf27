import math

import matplotlib.pyplot
import numpy as np
import pytest

from assay.core import mean_interval
from assay.generalization.capacity import CapacityProbe, EffectiveModelComplexity

RUNS = ((8, 0, 1.0), (12, 0, 0.9), (12, 1, 1.0), (18, 0, 1.0), (27, 0, 0.8), (27, 1, 0.9))


def complexity(fitted=(18, 8, 32)):
    probes = tuple(CapacityProbe(0, n, restart, accuracy) for n, restart, accuracy in RUNS)
    return EffectiveModelComplexity("random", fitted, (19, 9, 33), 99, 50, probes)


def test_the_mean_is_geometric_with_an_interval():
    found = complexity()
    assert found.mean == pytest.approx(np.prod(found.n_fitted) ** (1 / 3))
    assert found.efficiency == pytest.approx(found.mean / 50)
    inner = mean_interval(np.log(found.n_fitted).tolist())
    assert (found.interval.low, found.interval.high) == pytest.approx((math.exp(inner.low), math.exp(inner.high)))
    assert complexity((18,)).interval is None


def test_the_papers_protocol_ends_at_the_first_starts_first_failure():
    assert complexity((18,)).n_fitted_at_first == (8,)


def test_every_run_is_drawn():
    axes = complexity((18,)).plot()
    assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") == len(RUNS)
    matplotlib.pyplot.close(axes.figure)
