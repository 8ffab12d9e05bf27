import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, NumericalError, seeded
from assay.privacy import forget_quality
from assay.privacy.unlearning import tofu_model_utility, truth_ratio, truth_ratio_score


def test_the_truth_ratio_is_a_quotient_of_probabilities_a_token():
    right = torch.tensor([0.5, 0.1], dtype=torch.float64)
    wrong = torch.tensor([[0.2, 0.3], [0.4, 0.1]], dtype=torch.float64)
    ratios = truth_ratio(-right.log(), -wrong.log())
    expected = [r / math.sqrt(w[0] * w[1]) for r, w in zip(right.tolist(), wrong.tolist(), strict=True)]
    assert ratios.tolist() == pytest.approx(expected)
    assert truth_ratio_score(ratios).tolist() == pytest.approx([1 - 1 / expected[0], 0.0])


def test_forget_quality_is_the_two_sample_test():
    one, other = torch.rand(30, generator=seeded(0)), torch.rand(20, generator=seeded(1)) + 0.3
    quality = forget_quality(one, other)
    steps = np.sort(np.concatenate([one, other]))
    distance = max(abs(np.mean(one.numpy() <= s) - np.mean(other.numpy() <= s)) for s in steps)
    assert quality.statistic == pytest.approx(distance)
    assert quality.p_value < 0.05
    assert forget_quality(one, one).p_value == 1
    assert str(quality).startswith("forget quality 9.91e-05")


def test_few_questions_and_a_model_that_never_knew_are_said():
    apart = forget_quality(torch.arange(3.0), torch.arange(3.0) + 9)
    assert apart.p_value == pytest.approx(apart.smallest) == pytest.approx(2 / math.comb(6, 3))
    assert "no two models get less than 0.1" in str(apart)
    assert "not compared with the model before unlearning" in str(apart)
    draws = [torch.rand(30, generator=seeded(k)) for k in range(3)]
    ignorant = forget_quality(draws[0], draws[1], before=draws[2])
    assert ignorant.before == forget_quality(draws[2], draws[1]).p_value > 0.05
    assert "nothing was unlearned" in str(ignorant)
    knew = forget_quality(draws[0], draws[1], before=draws[2] + 5)
    assert knew.before < 1e-6
    assert "nothing was unlearned" not in str(knew)
    assert "not compared" not in str(knew)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9))
def test_utility_is_the_harmonic_mean(parts):
    assert tofu_model_utility(parts) == pytest.approx(len(parts) / sum(1 / part for part in parts))
    assert tofu_model_utility([*parts, 0.0]) == 0


def test_bad_input():
    with pytest.raises(NumericalError, match="truth ratio"):
        truth_ratio(torch.tensor([0.0]), torch.tensor([[math.inf]]))
    with pytest.raises(InvalidInputError, match="holds no truth ratio"):
        forget_quality(torch.zeros(0), torch.zeros(3))
    with pytest.raises(NumericalError, match="retain"):
        forget_quality(torch.zeros(2), torch.tensor([math.nan]))
    for parts in ([], [1.2], [-0.1]):
        with pytest.raises(InvalidInputError, match=r"score in \[0, 1\]"):
            tofu_model_utility(parts)
