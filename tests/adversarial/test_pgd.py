import math

import pytest
import torch
from adversarial_networks import UNBOUNDED, points, random_linear

from assay.adversarial import Lp, pgd
from assay.core import InvalidInputError, generator


@pytest.mark.parametrize("norm", [2, math.inf])
@pytest.mark.parametrize("start", [None, 3])
def test_two_linear_classes_end_at_the_closed_form_optimum(norm, start):
    source = generator(0)
    model, x = random_linear(8, 2, source), points(10, 8, source)
    y = torch.arange(10) % 2
    threat = Lp(norm=norm, eps=0.3, input_range=UNBOUNDED)
    source = None if start is None else generator(start)
    x_adv = pgd(model, x, y, threat=threat, n_iter=60, step_size=0.1, generator=source)
    away = (model.weight[1 - y] - model.weight[y]).detach()
    direction = away.sign() if norm == math.inf else away / away.norm(dim=1, keepdim=True)
    # The random part of a start shrinks by a constant factor a step in the 2-norm, and vanishes at once in the other.
    torch.testing.assert_close(x_adv, x + 0.3 * direction, rtol=0, atol=1e-6)


def test_one_step_without_a_start_is_the_gradient_sign_step_within_the_range():
    source = generator(1)
    model, x = random_linear(8, 3, source), torch.rand(10, 8, generator=source, dtype=torch.float64)
    y = torch.arange(10) % 3
    point = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(point), y).backward()
    expected = (x + 0.05 * point.grad.sign()).clamp(0, 1)
    threat = Lp(norm=math.inf, eps=0.1, input_range=(0.0, 1.0))
    torch.testing.assert_close(pgd(model, x, y, threat=threat, n_iter=1, step_size=0.05), expected)


def test_steps_must_have_a_length():
    model, x = random_linear(8, 3, generator(2)), points(2, 8, generator(2))
    with pytest.raises(InvalidInputError, match="step_size"):
        pgd(model, x, torch.tensor([0, 1]), threat=Lp(2, 0.1, UNBOUNDED), n_iter=1, step_size=0.0)
