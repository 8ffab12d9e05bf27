import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.generalization import z_loss


def test_the_gradient_is_twice_log_z_times_the_softmax():
    logits = (3 * torch.randn(4, 5, 7, generator=seeded(1), dtype=torch.float64)).requires_grad_()
    z_loss(logits, coefficient=0.3).backward()
    log_z = logits.detach().exp().sum(-1, keepdim=True).log()
    expected = 2 * 0.3 * log_z * logits.detach().softmax(-1) / 20
    torch.testing.assert_close(logits.grad, expected)


def test_log_probabilities_cost_nothing_and_a_shift_costs_its_square():
    logits = torch.randn(6, 5, generator=seeded(2), dtype=torch.float64).log_softmax(-1)
    assert z_loss(logits).item() == pytest.approx(0, abs=1e-30)
    assert z_loss(logits - 1e4).item() == pytest.approx(1e-4 * 1e8)


def test_unusable_arguments_are_refused():
    with pytest.raises(InvalidInputError, match="coefficient"):
        z_loss(torch.zeros(2, 3), coefficient=-1.0)
    with pytest.raises(InvalidInputError, match="last axis"):
        z_loss(torch.zeros(0, 3))
