import math

import pytest
import torch

from assay.adversarial import Lp, StepLeastLikely, TargetedStep
from assay.core import InvalidInputError, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_linear, random_mlp


@pytest.mark.parametrize("norm", [2, math.inf])
def test_the_least_likely_step_is_by_hand(norm):
    source = seeded(0)
    model, x = random_mlp([6, 16, 4], source), points(9, 6, source)
    threat = Lp(norm=norm, eps=0.3, input_range=UNBOUNDED)
    x_adv = StepLeastLikely(threat)(model, x, torch.zeros(9, dtype=torch.long))
    for sample, moved in zip(x, x_adv, strict=True):
        rarest = int(model(sample).argmin())
        gradient = torch.func.grad(lambda point, k=rarest: -model(point).log_softmax(0)[k])(sample)
        step = gradient.sign() if norm == math.inf else gradient / gradient.norm()
        torch.testing.assert_close(moved, sample - 0.3 * step)


@pytest.mark.parametrize("norm", [2, math.inf])
def test_the_targeted_step_is_optimal_on_a_linear_model(norm):
    source = seeded(1)
    model, x = random_linear(6, 4, source), points(9, 6, source)
    before, target = model(x).argmax(1), torch.arange(9) % 4
    moved = TargetedStep(Lp(norm=norm, eps=0.3, input_range=UNBOUNDED))(model, x, target)
    away = (model.weight[target] - model.weight[before]).detach()
    gained = ((moved - x) * away).sum(1)
    torch.testing.assert_close(gained, 0.3 * away.norm(p=1 if norm == math.inf else 2, dim=1))
    assert torch.equal(moved[target == before], x[target == before])


@pytest.mark.parametrize("kind", [StepLeastLikely, TargetedStep])
def test_labels_must_be_classes(kind):
    model, x = random_mlp([6, 16, 4], seeded(3)), points(2, 6, seeded(3))
    with pytest.raises(InvalidInputError, match="4 outputs"):
        kind(Lp(2, 0.1, UNBOUNDED))(model, x, torch.tensor([0, 4]))
