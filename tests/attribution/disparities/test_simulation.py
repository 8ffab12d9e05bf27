import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from assay.attribution.disparities import (
    simulate_concept_shift,
    simulate_covariate_shift,
    simulate_omitted_variable,
    simulate_sample_size,
)
from assay.core import InvalidInputError, seeded

N = 20_000
EXACT = {"dtype": torch.float64}


def test_labels_have_the_two_probabilities():
    for draw in (simulate_sample_size, simulate_covariate_shift, simulate_concept_shift, simulate_omitted_variable):
        data = draw(N, generator=seeded(1))
        for high, p in ((True, 0.9), (False, 0.1)):
            labels = data.y[(data.score >= 0) == high]
            assert binomtest(int(labels.sum()), len(labels), p).pvalue > 1e-4
        assert torch.equal(data.probability, torch.where(data.score >= 0, 0.9, 0.1))


def test_scores_are_the_formulas_of_the_features():
    c, late, m, product = simulate_concept_shift(N, -0.7, **EXACT).x.T
    score = 0.5 * c + 1.5 * product - 0.7 * (1 - m) * late - late - 0.2
    assert torch.allclose(simulate_concept_shift(N, -0.7, **EXACT).score, score)
    assert torch.equal(product, late * m)
    c, late = simulate_sample_size(N, **EXACT).x.T
    assert torch.allclose(simulate_sample_size(N, **EXACT).score, 0.5 * c - 1.5 * late + 0.5)
    m, late, c = simulate_omitted_variable(N, 3.0, omit=False, **EXACT).x.T
    data = simulate_omitted_variable(N, 3.0, **EXACT)
    assert torch.allclose(data.score, 3 * c + late - 0.2)
    assert torch.equal(data.x, torch.stack([m, late], 1))


def test_the_groups_have_one_law_of_labels_exactly_without_concept_shift():
    data = simulate_concept_shift(N, 1.5, **EXACT)
    c, late = data.x[:, 0], data.x[:, 1]
    assert torch.allclose(data.score, 0.5 * c + 0.5 * late - 0.2)


def test_a_covariate_shift_drops_samples_and_leaves_the_law_of_labels():
    whole, shifted = (simulate_covariate_shift(N, t, generator=seeded(2), **EXACT) for t in (None, 0.3))
    kept = (whole.group == 1) | (whole.x[:, 1] >= 0.3)
    assert not ((shifted.group == 0) & (shifted.x[:, 1] < 0.3)).any()
    assert torch.equal(shifted.x, whole.x[kept])
    assert torch.equal(shifted.y, whole.y[kept])
    assert torch.allclose(shifted.score, 0.5 * shifted.x[:, 0] - 1.5 * shifted.x[:, 1] + 0.5)


def test_columns_have_the_moments_of_the_process():
    data = simulate_concept_shift(N, generator=seeded(3), **EXACT)
    c, late, m, _ = data.x.T
    rest = late - 0.7 * m - 0.3 * c
    # Standard errors: 0.1 / sqrt(n) of the mean, 0.1 / sqrt(2 n) of the deviation; five of them.
    assert abs(float(rest.mean())) < 5 * 0.1 / N**0.5
    assert abs(float(rest.std()) - 0.1) < 5 * 0.1 / (2 * N) ** 0.5
    assert binomtest(int(m.sum()), N).pvalue > 1e-4


def test_the_share_of_the_small_group_is_exact():
    assert int((simulate_sample_size(1000, 0.05).group == 0).sum()) == 50
    groups = [set(simulate_sample_size(50, ratio).group.tolist()) for ratio in (0.0, 1.0)]
    assert groups == [{1}, {0}]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InvalidInputError, match="ratio must be a share"):
        simulate_sample_size(10, 1.5)
    with pytest.raises(InvalidInputError, match="beta must be a finite number"):
        simulate_concept_shift(10, np.nan)
    with pytest.raises(InvalidInputError, match="n must be a whole number"):
        simulate_omitted_variable(0)
