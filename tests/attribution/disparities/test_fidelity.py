import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.attribution import explanation_disparity
from assay.attribution.disparities import top_k_agreement
from assay.core import InvalidInputError

P_MODEL = [0.9, 0.8, 0.2, 0.6, 0.3, 0.1]
P_LOCAL = [0.7, 0.4, 0.3, 0.9, 0.6, -0.1]
GROUPS = ["a", "a", "a", "b", "b", "b"]


def test_six_rows_by_hand():
    report = explanation_disparity(P_MODEL, P_LOCAL, GROUPS)
    assert report.groups == ("a", "b")
    assert report.counts == (3, 3)
    assert report.accuracy == pytest.approx((2 / 3, 2 / 3))
    # a: both positives (0.7, 0.4) above the negative 0.3; b: 0.9 above 0.6 and -0.1.
    assert report.auroc == (1.0, 1.0)
    assert report.residual == pytest.approx((0.7 / 3, 0.8 / 3))
    # Over all: positives 0.7, 0.4, 0.9 and negatives 0.3, 0.6, -0.1; only 0.4 < 0.6 of nine pairs is wrong.
    assert report.overall == pytest.approx({"accuracy": 4 / 6, "auroc": 8 / 9, "residual": 1.5 / 6})
    assert report.mean_gap == pytest.approx({"accuracy": 0, "auroc": 0, "residual": 0.1 / 3})
    assert report.max_gap == pytest.approx({"accuracy": 0, "auroc": -1 / 9, "residual": 0.05 / 3})
    clipped = explanation_disparity(P_MODEL, P_LOCAL, GROUPS, clip=True)
    assert clipped.residual == pytest.approx((0.7 / 3, 0.7 / 3))
    assert clipped.auroc == report.auroc
    assert report.rows()[1]["residual"] == report.residual[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_gaps_are_symmetric_in_the_groups_and_agree_with_a_loop_over_pairs(seed, n_groups):
    source = np.random.default_rng(seed)
    p, local = source.random(60), source.random(60) * 1.2 - 0.1
    which = np.arange(60) % n_groups
    report = explanation_disparity(p, local, which)
    relabelled = explanation_disparity(p, local, source.permutation(n_groups)[which])
    assert relabelled.mean_gap == pytest.approx(report.mean_gap)
    assert relabelled.max_gap == pytest.approx(report.max_gap)
    residual = [np.abs(p - local)[which == g].mean() for g in range(n_groups)]
    pairs = [abs(residual[i] - residual[j]) for i in range(n_groups) for j in range(i)]
    assert report.mean_gap["residual"] == pytest.approx(np.mean(pairs))
    assert report.max_gap["residual"] == pytest.approx(max(residual) - np.abs(p - local).mean())


def test_for_two_groups_of_one_size_the_maximum_gap_is_half_the_mean_gap():
    source = np.random.default_rng(3)
    report = explanation_disparity(source.random(40), source.random(40), np.arange(40) % 2)
    for metric in ("accuracy", "residual"):
        assert report.max_gap[metric] == pytest.approx(report.mean_gap[metric] / 2)
        assert report.max_gap[metric] >= 0


def test_equal_groups_have_no_gap_and_one_group_none_either():
    twice = [np.tile(values, 2) for values in (P_MODEL, P_LOCAL)]
    assert explanation_disparity(*twice, [0] * 6 + [1] * 6).mean_gap == {"accuracy": 0, "auroc": 0, "residual": 0}
    assert explanation_disparity(P_MODEL, P_LOCAL, [1] * 6).mean_gap["residual"] == 0


def test_a_group_with_one_label_has_no_auroc_and_makes_no_gap():
    report = explanation_disparity(
        torch.tensor([0.9, 0.8, 0.9, 0.2, 0.6, 0.4]), torch.tensor(P_LOCAL), torch.tensor([0, 0, 1, 1, 2, 2])
    )
    assert math.isnan(report.auroc[0])
    assert report.n_undefined == 1
    assert report.mean_gap["auroc"] == 1  # 0 in group 1 and 1 in group 2
    assert "1 groups have one predicted class" in str(report)
    assert math.isnan(explanation_disparity([0.9, 0.8], [0.9, 0.8], [0, 1]).mean_gap["auroc"])


def test_the_largest_coefficients_are_counted_by_hand():
    slopes = [[-5.0, 0.1, 4.0, 0.0], [0.0, 1.0, -2.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    assert top_k_agreement([3.0, 0.0, -2.0, 1.0], slopes, 2).tolist() == [1.0, 0.5, 0.5]
    with pytest.raises(InvalidInputError, match="k must be at most 4"):
        top_k_agreement([3.0, 0.0, -2.0, 1.0], slopes, 5)
    with pytest.raises(InvalidInputError, match="are needed"):
        top_k_agreement([3.0], slopes, 1)


def test_what_is_no_explanation_is_refused():
    with pytest.raises(InvalidInputError, match="of one length"):
        explanation_disparity(P_MODEL, P_LOCAL[:5], GROUPS)
    with pytest.raises(InvalidInputError, match="must hold probabilities"):
        explanation_disparity([2.0, -1.0], [0.5, 0.5], [0, 1])
    with pytest.raises(InvalidInputError, match="NaN"):
        explanation_disparity([0.5, 0.5], [0.5, math.nan], [0, 1])
    with pytest.raises(InvalidInputError, match="threshold"):
        explanation_disparity([0.5, 0.5], [0.5, 0.5], [0, 1], threshold=2)
