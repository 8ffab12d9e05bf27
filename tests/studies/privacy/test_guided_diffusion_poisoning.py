from dataclasses import replace

import pytest
import torch

from assay.core import flatten, named_parameters, predict, seeded
from assay.nets.diffusion import GuidedDDIMSampler, linear_noise_schedule
from assay.privacy import GuidedDiffusionPoisoner, PoisonGoal
from assay.privacy.poisoning import gradient_alignment_loss, poison_target_gradient
from assay.studies.privacy.guided_diffusion_poisoning import cells, diffusion, study, worlds

SMOKE = study.STUDY.scales["smoke"]
pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("guided-diffusion-poisoning")


@pytest.fixture(scope="module")
def digits():
    return worlds.load_images("digits", 8)


@pytest.fixture(scope="module")
def world(digits):
    return worlds.build_world(digits, 300, replace(SMOKE.recipe, hidden=(32,), epochs=40), seed=0)


def test_every_claim_is_measured_with_both_models_and_shown(run):
    assert {evidence.claim for evidence in run.evidence if evidence.bar} == {"C1", "C2", "C3", "C4"}
    cases = ("mixture", "unet", "backdoor")
    assert {evidence.what.split(":")[0] for evidence in run.evidence} == set(cases)
    names = {figure["name"] for figure in run.figures}
    assert names == {"bases-mixture", "bases-unet", *(f"victims-{case}" for case in cases)}
    assert [table["name"] for table in run.tables] == ["bases", "poisons"]


def test_a_target_gives_the_same_figures_again():
    settings = replace(SMOKE, victims=1)
    first, again = cells.poison(settings, 3), cells.poison(settings, 3)
    assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(again[name])) for name, value in first.items())


def test_surrogate_and_judge_are_two_networks_that_learned(world):
    clean, *models = world
    weights = [flatten(named_parameters(model)) for model in models]
    assert not torch.equal(*weights)
    for model in models:
        assert (predict(model, clean.x_train).argmax(1) == clean.y_train).double().mean() > 0.9


def test_goals_are_right_at_first_and_aim_elsewhere(world):
    clean, surrogate, _ = world
    x, y = clean.x_test, clean.y_test
    classes = set()
    for seed in range(120):
        goal = worlds.draw_target(clean, surrogate, seed)
        (place,) = (x == goal.x).flatten(1).all(1).nonzero()[:, 0]
        assert predict(surrogate, goal.x).argmax() == y[place]
        assert goal.label != y[place]
        classes.add(goal.label)
    assert classes == set(range(10))  # one of them is missed with a probability of 3e-5


def test_a_backdoor_is_crafted_on_training_images_and_judged_on_test_images(world):
    clean, _, _ = world
    known, unseen = worlds.draw_backdoor(clean, 4)
    assert known.label == unseen.label
    for goal, x, y in ((known, clean.x_train, clean.y_train), (unseen, clean.x_test, clean.y_test)):
        assert (goal.x[:, :, -2:, -2:] == 1).all()
        bare = x.clone()
        bare[:, :, -2:, -2:] = 1
        places = (goal.x[:, None] == bare[None]).flatten(2).all(2)
        (source,) = {int(y[row.nonzero()[0]]) for row in places}
        assert source != goal.label
        assert len(goal.x) == (y == source).sum()


def test_bases_are_chosen_by_their_match(world):
    clean, surrogate, judge = world
    schedule = linear_noise_schedule(*diffusion.SCHEDULE)
    poisoner = GuidedDiffusionPoisoner(surrogate, GuidedDDIMSampler(lambda x, t: x, schedule, stride=50, recurrence=1))
    goal = worlds.draw_target(clean, surrogate, 0)
    bases, figures = cells.make_bases(poisoner, judge, clean, goal, 5, seed=1)
    real = clean.x_train[clean.y_train == goal.label]
    target = poison_target_gradient(surrogate, goal)
    losses = gradient_alignment_loss(surrogate, real, goal.labels(len(real)), target, per_sample=True)
    assert torch.equal(bases["best"], real[losses.argsort()[:5]])
    assert figures["alignment loss, real"] == pytest.approx(losses.mean().item())
    assert figures["alignment loss, best 16 real"] == pytest.approx(losses.sort().values[:16].mean().item())
    assert all(any(torch.equal(base, image) for image in real) for base in bases["random"])


def test_distances_are_to_the_nearest():
    x, others = torch.tensor([[0.0, 0.0], [0.0, 4.0]]), torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    assert cells.nearest(x, others) == 3.0


def test_a_mixture_has_components_of_every_class(digits):
    denoiser = diffusion.fit_mixture(digits, 2, 0)
    assert denoiser.means.shape == (20, 64)
    for label in range(10):
        mean = 2 * digits.x_train[digits.y_train == label].flatten(1).mean(0) - 1
        own = slice(2 * label, 2 * label + 2)
        found = (denoiser.weights[own, None] * denoiser.means[own]).sum(0) / denoiser.weights[own].sum()
        torch.testing.assert_close(found, mean, rtol=0, atol=1e-4)


def test_unet_weights_make_the_denoiser_that_was_trained():
    settings = replace(SMOKE, unet=replace(SMOKE.unet, source="digits", size=8), unet_batch=4)
    weights, again = (diffusion.train_unet(settings, 1) for _ in range(2))
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    unet = diffusion.new_unet(1, settings.channels, 7)
    unet.load_state_dict(weights)
    x = torch.randn(2, 1, 8, 8, generator=seeded(0))
    assert torch.equal(diffusion.trained_unet(weights, settings.channels)(x, 3), unet.eval()(x, 3).sample)


def test_the_paper_scale_builds_its_networks(digits):
    recipe = replace(study.STUDY.scales["paper"].recipe, hidden=(8,), epochs=1)
    clean, surrogate, _ = worlds.build_world(digits, 100, recipe, seed=0)
    goal = PoisonGoal(clean.x_train[:1], 3)
    assert poison_target_gradient(surrogate, goal).isfinite().all()
