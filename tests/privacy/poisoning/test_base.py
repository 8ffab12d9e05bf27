from dataclasses import dataclass

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.privacy import BullseyePolytope, FeatureCollision, PoisonGoal
from assay.privacy.poisoning import PoisonAttack, penultimate_features


@dataclass(frozen=True)
class Darken(PoisonAttack):
    """An objective whose gradient is one everywhere."""

    def objective(self, model, goal):
        return torch.sum


@pytest.fixture
def goal(images):
    return PoisonGoal(images[0][:2], label=2)


def test_the_rate_falls_after_three_five_and_seven_eighths(networks, images, goal):
    # Adam moves by its rate where the gradient is constant: 3 whole steps of 8, 2 tenths, 2 hundredths, a thousandth.
    bases = 0.9 + 0.1 * images[0]
    found = Darken(eps=1.0, n_iter=8, lr=0.01)(networks[0], bases, goal)
    torch.testing.assert_close(found, bases - 0.01 * (3 + 0.2 + 0.02 + 0.001), rtol=0, atol=1e-8)


def test_poisons_stay_in_the_budget_and_in_the_range(networks, images, goal):
    x = images[0]
    found = Darken(eps=0.2, n_iter=9, lr=1.0)(networks[0], x, goal)
    torch.testing.assert_close(found, (x - 0.2).clamp(min=0))
    wide = Darken(eps=0.2, n_iter=9, lr=1.0, input_range=(-1.0, 1.0))(networks[0], x, goal)
    torch.testing.assert_close(wide, x - 0.2)


def test_no_step_returns_the_bases(networks, images, goal):
    assert torch.equal(Darken(n_iter=0)(networks[0], images[0], goal), images[0])


def test_features_are_what_the_last_linear_layer_is_given(networks, images):
    model = networks[0]
    torch.testing.assert_close(penultimate_features(model, images[0]), model[:-1](images[0]))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_objectives_are_those_of_the_papers(networks, images, goal):
    model, x = networks[0], images[0][3:]
    features, target = model[:-1](x), model[:-1](goal.x).mean(0)
    collision = sum((row - target).norm() ** 2 for row in features) / len(x)
    torch.testing.assert_close(FeatureCollision().objective(model, goal)(x), collision)
    bullseye = (features.mean(0) - target).norm() ** 2 / target.norm() ** 2
    torch.testing.assert_close(BullseyePolytope().objective(model, goal)(x), bullseye)


def test_the_polytope_asks_for_the_mean_only(networks, images):
    # Around the target in pairs: with linear features the mean hits it though no poison does.
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()
    x = images[0]
    goal = PoisonGoal(x[:1], 2)
    around = torch.cat([x[:1] + 0.1, x[:1] - 0.1])
    assert BullseyePolytope().objective(model, goal)(around) < 1e-12
    assert FeatureCollision().objective(model, goal)(around) > 0.1


def test_a_collision_within_the_budget_is_found(networks, images):
    target = 0.4 + 0.2 * images[0][:1]
    bases = target + 0.05 * torch.ones_like(images[0][:4])
    goal = PoisonGoal(target, 1)
    attack = FeatureCollision(eps=0.1, n_iter=80, lr=0.01)
    objective = attack.objective(networks[0], goal)
    assert objective(attack(networks[0], bases, goal)) < 0.01 * objective(bases)


def test_bad_input_is_refused(networks, images, goal):
    model, x = networks[0], images[0]
    with pytest.raises(InvalidInputError, match="outside input_range"):
        Darken()(model, x + 1, goal)
    with pytest.raises(InvalidInputError, match="bases must be a non-empty batch"):
        Darken()(model, x[:0], goal)
    with pytest.raises(InvalidInputError, match="the goal's x must be a non-empty batch"):
        Darken()(model, x, PoisonGoal(x[:0], 1))
    with pytest.raises(InvalidInputError, match="eps must be a positive number"):
        Darken(eps=0.0)
    with pytest.raises(InvalidInputError, match="n_iter must be a whole number of at least 0"):
        Darken(n_iter=-1)
    with pytest.raises(InvalidInputError, match="last linear layer"):
        penultimate_features(nn.Flatten(), x)
    unused = nn.Identity()
    unused.add_module("last", nn.Linear(2, 2))
    with pytest.raises(InvalidInputError, match="last linear layer"):
        penultimate_features(unused, x)
