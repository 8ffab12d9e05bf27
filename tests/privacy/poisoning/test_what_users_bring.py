"""Networks, labels and autograd states as users have them."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from assay.core import InvalidInputError, StackedTrainer, cross_entropy, flatten, named_parameters, seeded
from assay.nets import mlp
from assay.nets.diffusion import GuidedDDIMSampler, linear_noise_schedule
from assay.privacy import (
    BullseyePolytope,
    FeatureCollision,
    GuidedDiffusionPoisoner,
    PoisonGoal,
    WitchesBrew,
    evaluate_poison,
)
from assay.privacy.poisoning import PoisonSet, gradient_alignment_loss, penultimate_features, poison_target_gradient

ATTACKS = tuple(kind(eps=0.1, n_iter=2) for kind in (WitchesBrew, FeatureCollision, BullseyePolytope))


class HeadFirst(nn.Module):
    """A network that registers its head before its body, and a layer that it does not call."""

    def __init__(self):
        super().__init__()
        self.head, self.body, self.unused = nn.Linear(5, 3), nn.Linear(4, 5), nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.body(x).relu())


def data():
    return torch.rand(8, 4, generator=seeded(0)), torch.arange(8) % 3


def network():
    return mlp((4, 6, 3), generator=seeded(1))


def test_features_are_those_of_the_layer_that_is_called_last():
    model, (x, _) = HeadFirst(), data()
    assert torch.equal(penultimate_features(model, x), model.body(x).relu())


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
def test_the_callers_autograd_state_does_not_matter(state):
    def everything():
        x, _ = data()
        goal = PoisonGoal(x[:1], 2)
        model = network_outside()
        poisons = [attack(model, x, goal) for attack in ATTACKS]
        sampler = GuidedDDIMSampler(lambda x, t: x / 2, linear_noise_schedule(3, 0.05, 0.4), recurrence=1)
        bases = GuidedDiffusionPoisoner(model, sampler).generate_bases(goal, 3)
        return *poisons, bases, poison_target_gradient(model, goal)

    expected = everything()
    with state():
        found = everything()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not any(one.requires_grad for one in expected)


def network_outside():
    with torch.inference_mode(False):
        return network()


def test_images_with_a_graph_are_taken_without_it():
    x, y = data()
    goal, other = PoisonGoal(x[:1], 2), PoisonGoal((1 * x.clone().requires_grad_())[:1], 2)
    for attack in ATTACKS:
        assert torch.equal(attack(network(), 1 * x.clone().requires_grad_(), other), attack(network(), x, goal))
    target = poison_target_gradient(network(), goal)
    column = y.to(torch.uint8)[:, None]
    assert torch.equal(
        gradient_alignment_loss(network(), x, column, target), gradient_alignment_loss(network(), x, y, target)
    )


def test_a_frozen_backbone_is_left_out_of_the_gradients():
    model, (x, y) = network(), data()
    model[0].requires_grad_(False)
    goal = PoisonGoal(x[:1], 2)
    target = poison_target_gradient(model, goal)
    loss = cross_entropy(model(goal.x), goal.labels(1))
    expected = torch.autograd.grad(loss, list(model[2].parameters()))
    torch.testing.assert_close(target, torch.cat([part.flatten() for part in expected]))
    gradient_alignment_loss(model, x, y, target)
    with pytest.raises(InvalidInputError, match="for 21 trainable parameters"):
        gradient_alignment_loss(model, x, y, flatten(named_parameters(model)))


def test_probabilities_and_goals_that_are_reached_are_refused():
    x, _ = data()
    goal = PoisonGoal(x[:1], 2)
    for attack in ATTACKS:
        with pytest.raises(InvalidInputError, match="take the softmax off"):
            attack(nn.Sequential(network(), nn.Softmax(1)), x, goal)
    sure = network()
    with torch.no_grad():
        sure[2].weight.zero_()
        sure[2].bias.copy_(torch.tensor([0.0, 0.0, 500.0]))
    with pytest.raises(InvalidInputError, match="the class 2 already, without loss"):
        WitchesBrew(n_iter=1)(sure, x, goal)
    with pytest.raises(InvalidInputError, match="bring both to one"):
        WitchesBrew(n_iter=1)(network(), x[:, None], goal)
    with pytest.raises(InvalidInputError, match="whole number"):
        PoisonGoal(x[:1], -1)
    single = mlp((4, 1), generator=seeded(0))
    with pytest.raises(InvalidInputError, match="one score for each class"):
        WitchesBrew(n_iter=1)(single, x, PoisonGoal(x[:1], 0))


def test_victims_take_labels_of_any_type_and_are_trained_inside_inference_mode():
    x, y = data()
    goal, build = PoisonGoal(x[:1], 2), lambda source: mlp((4, 3), generator=source)
    trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=0.1), epochs=3, batch_size=2)
    options = {"model_fn": build, "trainer": trainer, "n_victims": 2}
    poisons = PoisonSet(x[:2], torch.tensor([2, 2]), torch.zeros(2))
    expected = evaluate_poison(goal, poisons, x, y, test=(x, y), **options)
    column = y.to(torch.int32)[:, None]
    with torch.inference_mode():
        found = evaluate_poison(goal, poisons, x.clone(), column, test=(x, column), **options)
    assert torch.equal(found.target_probability, expected.target_probability)
    assert torch.equal(found.clean_accuracy, expected.clean_accuracy)


@pytest.mark.parametrize("place", [0, 2], ids=["hidden layer", "last layer"])
@pytest.mark.parametrize("bias", [True, False])
def test_features_of_layers_whose_weights_are_computed(place, bias):
    model, (x, _) = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=bias)), data()
    expected = model[:2](x)
    parametrizations.weight_norm(model[place])
    torch.testing.assert_close(penultimate_features(model, x), expected)
