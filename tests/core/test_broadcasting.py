import pytest
import torch

from assay.core import per_sample, seeded


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 1, 2, 5)])
def test_a_factor_a_sample_multiplies_as_in_a_loop_over_samples(shape):
    x = torch.randn(shape, generator=seeded(0), dtype=torch.float64)
    factors = torch.randn(3, generator=seeded(1), dtype=torch.float64)
    expected = torch.stack([factor * sample for factor, sample in zip(factors, x, strict=True)])
    torch.testing.assert_close(per_sample(factors, x) * x, expected, rtol=0, atol=0)


def test_a_mask_chooses_whole_samples_and_an_empty_batch_stays_empty():
    x = torch.ones(2, 3, 4)
    chosen = torch.where(per_sample(torch.tensor([True, False]), x), x, -x)
    assert chosen[0].eq(1).all()
    assert chosen[1].eq(-1).all()
    assert per_sample(torch.empty(0), x[:0]).shape == (0, 1, 1)
