import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from assay.adversarial import EntropyRegularizedLoss
from assay.core import InvalidInputError, cross_entropy, seeded
from helpers.adversarial_networks import points


@pytest.mark.parametrize("weight", [-0.5, 0.0, 1.5])
def test_it_is_cross_entropy_and_the_entropy_of_torchs_distribution(weight):
    logits, y = points(6, 5, seeded(0)), torch.arange(6) % 5
    expected = F.cross_entropy(logits, y) + weight * Categorical(logits=logits).entropy().mean()
    torch.testing.assert_close(EntropyRegularizedLoss(weight)(logits, y), expected)


def test_its_gradient_is_right():
    logits, y = points(3, 4, seeded(1)).requires_grad_(), torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(lambda scores: EntropyRegularizedLoss(0.7)(scores, y), logits)


def test_a_certain_prediction_has_no_entropy_and_no_nan():
    logits = torch.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    loss = EntropyRegularizedLoss(2.0)(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_the_sign_decides_where_descent_takes_the_entropy():
    start, y = points(8, 5, seeded(2)), torch.arange(8) % 5
    entropies = {}
    for weight in (-1.0, 0.0, 1.0):
        logits = start.clone().requires_grad_()
        for _ in range(20):
            (gradient,) = torch.autograd.grad(EntropyRegularizedLoss(weight)(logits, y), logits)
            logits = (logits - gradient).requires_grad_()
        entropies[weight] = Categorical(logits=logits.detach()).entropy().mean().item()
    assert entropies[1.0] < entropies[0.0] < entropies[-1.0]


def test_bad_input_is_named():
    with pytest.raises(InvalidInputError, match="finite"):
        EntropyRegularizedLoss(math.nan)
    with pytest.raises(InvalidInputError, match="2 outputs"):
        EntropyRegularizedLoss(1.0)(torch.zeros(1, 2), torch.tensor([2]))
    assert repr(EntropyRegularizedLoss(0.5)) == "EntropyRegularizedLoss(weight=0.5)"
    assert EntropyRegularizedLoss(0.0)(torch.zeros(2, 3), torch.tensor([0, 1])) == cross_entropy(
        torch.zeros(2, 3), torch.tensor([0, 1])
    )
