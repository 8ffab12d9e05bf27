from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import InvalidInputError, cross_entropy, parameter_gradients, predict, seeded
from assay.nets.diffusion import GaussianMixtureDenoiser, GuidedDDIMSampler, linear_noise_schedule
from assay.privacy import FeatureCollision, GuidedDiffusionPoisoner, PoisonGoal, WitchesBrew
from assay.privacy.poisoning import PoisonSet, gradient_alignment_loss, poison_target_gradient


@pytest.fixture
def goal(images):
    return PoisonGoal(images[0][:1], label=2)


@pytest.fixture
def poisoner(networks):
    schedule = linear_noise_schedule(8, 0.05, 0.4).double()
    sampler = GuidedDDIMSampler(lambda x, t: 0.5 * x, schedule, recurrence=1)
    return GuidedDiffusionPoisoner(networks[0], sampler, matching=0.7, labelling=3.0)


def test_guidance_weighs_match_and_label(poisoner, images, goal):
    x, labels = images[0], torch.full((12,), 2)
    target = poison_target_gradient(poisoner.model, goal)
    wrong = F.cross_entropy(poisoner.model(x), labels, reduction="none")
    expected = 0.7 * gradient_alignment_loss(poisoner.model, x, labels, target, per_sample=True) + 3.0 * wrong
    torch.testing.assert_close(poisoner.guidance(goal)(x), expected)


def test_without_match_it_asks_for_large_gradients(poisoner, images, goal):
    x, labels = images[0], torch.full((12,), 2)
    norms = parameter_gradients(poisoner.model, x, labels, cross_entropy).norm(dim=1)
    found = replace(poisoner, matching=0.0, labelling=0.0).guidance(goal)(x)
    torch.testing.assert_close(found, 1 / norms, rtol=1e-6, atol=0)


def test_guidance_sees_augmented_images(poisoner, images, goal):
    flipped = replace(poisoner, augment=lambda x: x.flip(3)).guidance(goal)(images[0])
    torch.testing.assert_close(flipped, poisoner.guidance(goal)(images[0].flip(3)))


def test_bases_are_samples_under_the_guidance(poisoner, goal):
    bases = poisoner.generate_bases(goal, 5, generator=seeded(3))
    expected = poisoner.sampler.sample((5, 1, 6, 6), guidance=poisoner.guidance(goal), generator=seeded(3))
    assert torch.equal(bases, expected)
    assert (bases.min() >= 0) & (bases.max() <= 1)


def test_bases_carry_their_label_where_plain_samples_carry_any():
    # Two clusters of flat images, a classifier that tells them apart by their mean.
    schedule = linear_noise_schedule(25, 1e-3, 0.4).double()
    means = torch.tensor([[-0.5] * 4, [0.5] * 4], dtype=torch.float64)
    covariances = 0.01 * torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    denoiser = GaussianMixtureDenoiser(torch.tensor([0.5, 0.5]).double(), means, covariances, schedule)
    model = nn.Linear(4, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-2.0], [2.0]]))
        model.bias.copy_(torch.tensor([4.0, -4.0]))
    sampler = GuidedDDIMSampler(denoiser, schedule, strength=1.0, recurrence=2)
    goal = PoisonGoal(torch.full((1, 4), 0.25).double(), label=1)
    bases = GuidedDiffusionPoisoner(model, sampler, matching=0.1, labelling=2.0).generate_bases(goal, 40)
    assert (predict(model, bases).argmax(1) == 1).all()
    plain = predict(model, sampler.sample((40, 4))).argmax(1)
    assert 8 <= plain.sum() <= 32  # a fair coin is outside with a probability of 1e-4
    near = (2 * bases - 1 - means[1]).norm(dim=1)
    assert near.max() < 1.0  # and of the cluster's kind: its radius is 0.2, the other is 2 away


@pytest.mark.parametrize("attack", [WitchesBrew(0.1, 2), FeatureCollision(0.1, 2)])
def test_poisons_are_the_attacks_ranked_by_their_own_match(poisoner, images, goal, attack):
    bases = images[0]
    poisons = attack(poisoner.model, bases, goal)
    target = poison_target_gradient(poisoner.model, goal)
    scores = gradient_alignment_loss(poisoner.model, poisons, torch.full((12,), 2), target, per_sample=True)
    found = poisoner.craft(attack, bases, goal, keep=5)
    torch.testing.assert_close(found.scores, scores.sort().values[:5])
    torch.testing.assert_close(found.x, poisons[scores.argsort()[:5]])
    assert found.y.tolist() == [2] * 5
    assert len(poisoner.craft(attack, bases, goal).x) == 12


def test_poisons_are_scored_as_the_victims_see_them(poisoner, images, goal):
    attack = WitchesBrew(0.1, 0)
    flipped = replace(poisoner, augment=lambda x: x.flip(3)).craft(attack, images[0], goal)
    torch.testing.assert_close(flipped.scores, poisoner.craft(attack, images[0].flip(3), goal).scores)


def test_bad_input_is_refused(poisoner, images, goal):
    with pytest.raises(InvalidInputError, match=r"keep must be within 1\.\.12"):
        poisoner.craft(WitchesBrew(), images[0], goal, keep=13)
    with pytest.raises(InvalidInputError, match="weights of a loss"):
        replace(poisoner, labelling=-1.0)
    with pytest.raises(InvalidInputError, match="at least one image"):
        poisoner.generate_bases(goal, 0)
    with pytest.raises(InvalidInputError, match="does not accept a sample"):
        poisoner.generate_bases(PoisonGoal(torch.ones(1, 5).double(), 0), 2)


def test_goal_and_sampler_must_be_of_one_range_and_type(poisoner, goal):
    for x in (255 * goal.x, goal.x - 0.9):
        with pytest.raises(InvalidInputError, match=r"bases are sampled in \[0, 1\]; rescale them"):
            poisoner.generate_bases(replace(goal, x=x), 2)
    single = replace(poisoner, sampler=replace(poisoner.sampler, alphas_cumprod=poisoner.sampler.schedule.float()))
    with pytest.raises(InvalidInputError, match="bring schedule, goal and model to one type"):
        single.generate_bases(goal, 2)


@pytest.mark.usefixtures("as_users_run_it")
def test_a_set_of_poisons_has_a_label_and_a_score_for_each(images):
    x = images[0][:3]
    assert PoisonSet(x, torch.full((3,), 2)).scores is None
    with pytest.raises(InvalidInputError, match=r"labels of shape .* for 3 poisons"):
        PoisonSet(x, torch.full((2,), 2))
    with pytest.raises(InvalidInputError, match=r"scores of shape .* for 3 poisons"):
        PoisonSet(x, torch.full((3,), 2), torch.zeros(5))
