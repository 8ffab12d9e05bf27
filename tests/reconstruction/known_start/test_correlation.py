"""The z-score of wrong starts is standard normal, and its threshold bounds their tail."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from assay.core import InvalidInputError, isolated_rng, seeded
from assay.reconstruction.known_start.correlation import (
    StartCorrelation,
    screened_tensors,
    split_unchanged,
    z_threshold,
)

WRONG = 3000


@pytest.fixture(scope="module")
def wrong_scores():
    """z-scores of seeds that did not draw the network: two layers, steep weights as after training."""
    source = seeded(0)
    columns = torch.logspace(0, -2, 16)  # the pixels of an image have unequal weights
    end = {"weight": torch.randn(8, 16, generator=source) * columns + 0.3, "bias": torch.randn(8, generator=source)}
    correlation = StartCorrelation(end)
    with isolated_rng(0):
        found = []
        for seed in range(WRONG):
            torch.manual_seed(seed)
            found.append(correlation(dict(nn.Linear(16, 8).named_parameters())))
    return np.array(found)


def test_wrong_seeds_score_as_standard_normal_numbers(wrong_scores):
    assert stats.kstest(wrong_scores, "norm").pvalue > 0.01
    assert abs(wrong_scores.mean()) < 4 / math.sqrt(WRONG)
    assert abs(wrong_scores.var() - 1) < 4 * math.sqrt(2 / WRONG)


def test_the_best_of_all_wrong_seeds_is_the_extreme_of_a_normal_and_below_the_threshold(wrong_scores):
    low, high = (float(stats.norm.ppf(p ** (1 / WRONG))) for p in (1e-3, 1 - 1e-3))  # of the largest of so many
    assert low < wrong_scores.max() < high
    assert wrong_scores.max() < z_threshold(1e-3, WRONG) < z_threshold(1e-6, WRONG)
    rates = [(wrong_scores > z_threshold(level, 1)).mean() for level in (0.1, 0.01)]
    assert all(rate <= level for rate, level in zip(rates, (0.1, 0.01), strict=True))


def test_the_score_is_pearsons_correlation_pooled_over_tensors():
    source = seeded(1)
    end = {"a": torch.randn(5, 7, generator=source), "b": torch.randn(11, generator=source), "c": torch.ones(4)}
    start = {name: torch.rand(value.shape, generator=source) for name, value in end.items()}
    r = {name: float(np.corrcoef(start[name].flatten(), end[name].flatten())[0, 1]) for name in "ab"}
    expected = (34 * r["a"] + 10 * r["b"]) / math.sqrt(44)
    assert StartCorrelation(end)(start) == pytest.approx(expected, rel=1e-5)


def test_scale_offset_type_and_constants_do_not_matter():
    source = seeded(2)
    end, start = ({"w": torch.randn(6, 5, generator=source)} for _ in range(2))
    z = StartCorrelation(end)(start)
    assert StartCorrelation({"w": 3 * end["w"] + 1})({"w": 0.1 * start["w"].double() - 4}) == pytest.approx(z, rel=1e-5)
    assert StartCorrelation({"w": end["w"].half()})({"w": start["w"].half()}) == pytest.approx(z, rel=1e-2)
    assert StartCorrelation(end)({"w": torch.ones(6, 5)}) == 0
    assert StartCorrelation({"w": torch.ones(6, 5)})(start) == 0


def test_the_threshold_bounds_the_tail_of_a_normal():
    for n in (1, 1000, 10**7):
        assert 0.001 * 1e-6 < n * stats.norm.sf(z_threshold(1e-6, n)) <= 1e-6
    with pytest.raises(InvalidInputError, match="level"):
        z_threshold(1.0, 3)


def test_first_tensors_are_compared_until_there_are_enough_entries():
    end = {"norm": torch.ones(10**5), **{name: torch.rand(200, 200) for name in "abc"}}
    assert screened_tensors(end, end) == ["a", "b"]
    assert screened_tensors(["c"], end) == ["c"]


def test_unchanged_tensors_are_told_from_changed_ones():
    start = {"a": torch.rand(3), "b": torch.rand(3)}
    assert split_unchanged(start, {"a": start["a"].double(), "b": start["b"] + 1}) == (["b"], ["a"])
