import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import (
    InvalidInputError,
    cross_entropy,
    flatten,
    named_parameters,
    parameter_gradients,
    per_sample_gradients,
    seeded,
)
from assay.nets import mlp
from assay.privacy import PoisonGoal, WitchesBrew
from assay.privacy.poisoning import add_trigger, gradient_alignment_loss, poison_target_gradient


@pytest.fixture
def smooth():
    """A network whose second derivatives exist everywhere, with a layer that is not to act."""
    first, _, last = mlp((36, 5, 3), generator=seeded(0))
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Dropout(0.5), last).double()


@pytest.fixture
def goal(images):
    return PoisonGoal(images[0][:1], label=2)


def manual_gradient(model, x, y):
    """The gradient of the mean loss by plain autograd, kept differentiable."""
    pieces = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()), create_graph=True)
    return torch.cat([piece.flatten() for piece in pieces])


def test_gradients_are_those_of_autograd_together_and_one_by_one(smooth, images):
    x, y = images
    rows = parameter_gradients(smooth, x, y, cross_entropy)
    torch.testing.assert_close(rows, per_sample_gradients(smooth, x, y, cross_entropy))
    together = parameter_gradients(smooth, x, y, cross_entropy, per_sample=False)
    torch.testing.assert_close(together, manual_gradient(smooth.eval(), x, y))


def test_the_targets_gradient_is_the_mean_over_the_goal(smooth, images):
    x, _ = images
    expected = manual_gradient(smooth.eval(), x[:4], torch.full((4,), 1))
    torch.testing.assert_close(poison_target_gradient(smooth, PoisonGoal(x[:4], 1)), expected.detach())


def test_the_loss_is_one_cosine_over_all_parameters(smooth, images, goal):
    x, y = images
    target = poison_target_gradient(smooth, goal)
    one_by_one = torch.stack([manual_gradient(smooth.eval(), x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    expected = 1 - F.cosine_similarity(one_by_one, target[None])
    losses = gradient_alignment_loss(smooth, x, y, target, per_sample=True)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-8)
    together = 1 - F.cosine_similarity(one_by_one.mean(0), target, dim=0)
    torch.testing.assert_close(gradient_alignment_loss(smooth, x, y, target), together, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(gradient_alignment_loss(smooth, x, y, 7 * target, per_sample=True), losses)


def test_it_is_zero_for_the_target_itself(smooth, goal):
    target = poison_target_gradient(smooth, goal)
    assert gradient_alignment_loss(smooth, goal.x, goal.labels(1), target).abs() < 1e-8
    assert (gradient_alignment_loss(smooth, goal.x, goal.labels(1), -target) - 2).abs() < 1e-8


@pytest.mark.parametrize("per_sample", [True, False])
def test_it_is_differentiable_in_the_poisons(smooth, images, goal, per_sample):
    target = poison_target_gradient(smooth, goal)
    x, y = images[0][2:4, :, :3].clone().requires_grad_(), images[1][2:4]
    rest = images[0][2:4, :, 3:]
    assert torch.autograd.gradcheck(
        lambda part: gradient_alignment_loss(smooth, torch.cat([part, rest], 2), y, target, per_sample=per_sample), x
    )


def test_a_network_that_is_certain_gives_one_and_a_finite_gradient(images, goal):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()
    target = poison_target_gradient(model, goal)
    with torch.no_grad():
        model[1].bias += torch.tensor([5000.0, 0, 0])
    x = images[0][:2].clone().requires_grad_()
    loss = gradient_alignment_loss(model, x, torch.zeros(2).long(), target)
    assert loss.item() == 1
    (slope,) = torch.autograd.grad(loss, x)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize(("eps", "lr"), [(0.5, 0.01), (0.004, 0.01)])
def test_the_first_step_goes_against_the_gradients_sign_within_the_budget(smooth, images, goal, eps, lr):
    bases = 0.4 + 0.2 * images[0]
    target = poison_target_gradient(smooth, goal)
    poisons = bases.clone().requires_grad_()
    loss = 1 - F.cosine_similarity(manual_gradient(smooth.eval(), poisons, goal.labels(12)), target, dim=0)
    (slope,) = torch.autograd.grad(loss, poisons)
    found = WitchesBrew(eps=eps, n_iter=1, lr=lr)(smooth, bases, goal)
    torch.testing.assert_close(found, bases - min(eps, lr) * slope.sign(), rtol=0, atol=1e-9)


def test_poisons_are_crafted_through_the_augmentation(smooth, images, goal):
    bases = 0.4 + 0.2 * images[0]
    flipped = WitchesBrew(0.1, 2, augment=lambda x: x.flip(3))(smooth, bases, goal)
    plain = WitchesBrew(0.1, 2)(smooth, bases.flip(3), goal)
    torch.testing.assert_close(flipped.flip(3), plain)


def test_a_backdoors_gradient_is_taken_at_the_marked_images(smooth, images):
    x, patch = images[0][:3], torch.ones(1, 2, 2)
    marked = x.clone()
    for image in marked:
        image[0, 4:, 4:] = 1.0
    assert torch.equal(add_trigger(x, patch), marked)
    expected = manual_gradient(smooth.eval(), marked, torch.zeros(3).long()).detach()
    torch.testing.assert_close(poison_target_gradient(smooth, PoisonGoal(add_trigger(x, patch), 0)), expected)


def test_batch_norm_stays_in_evaluation_mode(images, goal):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 3)).double().train()
    before = flatten(named_parameters(model)), model[1].running_mean.clone()
    WitchesBrew(0.1, 2)(model, images[0], goal)
    assert torch.equal(flatten(named_parameters(model)), before[0])
    assert torch.equal(model[1].running_mean, before[1])
    assert model.training


def test_bad_input_is_refused(smooth, images, goal):
    x, y = images
    target = poison_target_gradient(smooth, goal)
    with pytest.raises(InvalidInputError, match="entries for"):
        gradient_alignment_loss(smooth, x, y, target[1:])
    with pytest.raises(InvalidInputError, match="labels from"):
        gradient_alignment_loss(smooth, x, y + 5, target)
    with pytest.raises(InvalidInputError, match="the goal's label holds labels from 7"):
        poison_target_gradient(smooth, PoisonGoal(x[:1], 7))
    with pytest.raises(InvalidInputError, match="does not fit images"):
        add_trigger(x, torch.ones(1, 7, 1))
