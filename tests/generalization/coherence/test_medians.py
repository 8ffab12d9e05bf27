"""Median steps beside torch's median over the stored gradients."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.generalization import M3, RM3
from assay.generalization.coherence.medians import median_of_three


def test_the_median_of_three_is_that_of_torch() -> None:
    values = torch.randint(4, (3, 500), generator=seeded(0)).double()
    assert torch.equal(median_of_three(*values), values.median(0).values)


@pytest.mark.parametrize(("optimizer", "firsts"), [(RM3, (0, 1, 2, 3, 4)), (M3, (0, 3))])
def test_steps_are_those_of_the_formula(optimizer: type[RM3], firsts: tuple[int, ...]) -> None:
    gradients = torch.randn(7, 4, generator=seeded(1)).double()
    weight = nn.Parameter(torch.ones(4).double())
    run = optimizer([weight], lr=0.1, weight_decay=0.3)
    expected, seen = torch.ones(4).double(), []
    for number, gradient in enumerate(gradients):
        weight.grad = gradient.clone()
        run.step()
        seen.append(gradient + 0.3 * expected)
        if number - 2 in firsts:
            expected = expected - 0.1 * torch.stack(seen[-3:]).median(0).values
        torch.testing.assert_close(weight.detach(), expected)


def test_negative_rates_are_refused() -> None:
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(InvalidInputError, match="learning rate"):
        RM3([weight], lr=-1.0)
    with pytest.raises(InvalidInputError, match="weight_decay"):
        M3([weight], lr=1.0, weight_decay=-1.0)
