import matplotlib
import pytest
import torch

from assay.attribution.faithfulness import leakage
from assay.core import InvalidInputError, seeded

matplotlib.use("Agg")
MASK = torch.arange(6) < 2


def test_measures_are_those_counted_by_hand():
    scores = torch.tensor([[4.0, -1.0, 2.0, 0.5, 0.25, 0.25], [0.0, 1.0, -3.0, 5.0, 0.5, 0.5]], dtype=torch.float64)
    report = leakage(scores, MASK.expand(2, 6), fraction=0.5)
    assert report.null_energy.tolist() == [3 / 8, 0.9]
    torch.testing.assert_close(report.topk_null_fraction, torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))
    assert report.signal_rank.tolist() == [0, 2]
    assert report.signal_on_top == 0.5
    assert report.null_size.tolist() == [4 / 6, 4 / 6]
    assert "63.7% of the attribution and 50.0% of the top 0.5" in str(report)
    assert report.plot().get_xlabel()


def test_the_signal_itself_leaks_nothing_and_a_random_attribution_its_share():
    mask = MASK.expand(4000, 6)
    perfect = leakage(mask.double(), mask, fraction=1 / 3)
    assert perfect.null_energy.max() == perfect.topk_null_fraction.max() == 0
    drawn = leakage(torch.rand(4000, 6, generator=seeded(0)), mask, fraction=1 / 3)
    # Standard errors below 0.5 / sqrt(4000); four of them.
    assert abs(float(drawn.null_energy.mean()) - 2 / 3) < 0.03
    assert abs(float(drawn.topk_null_fraction.mean()) - 2 / 3) < 0.03
    assert abs(drawn.signal_on_top - 1 / 3) < 0.03


def test_tiny_gradients_have_the_same_shares():
    scores = torch.rand(5, 6, generator=seeded(1))
    tiny = leakage(1e-320 * scores.double(), MASK.expand(5, 6), fraction=0.5)
    expected = leakage(scores.double(), MASK.expand(5, 6), fraction=0.5).null_energy
    torch.testing.assert_close(tiny.null_energy, expected, rtol=1e-2, atol=0)


def test_an_attribution_of_zeros_counts_as_uniform_and_is_told():
    report = leakage(torch.tensor([[0.0] * 6, [1.0] * 6]), MASK.expand(2, 6), fraction=0.5)
    torch.testing.assert_close(report.null_energy, torch.full((2,), 2 / 3))
    assert report.n_zero == 1
    assert "1 attributions are zero everywhere" in str(report)


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match="signal_mask"):
        leakage(torch.ones(2, 6), MASK[None])
    with pytest.raises(InvalidInputError, match="all of them"):
        leakage(torch.ones(2, 6), torch.ones(2, 6, dtype=torch.bool))
