from dataclasses import replace

import pytest
import torch

from assay.core import flatten, named_parameters, predict, seeded
from assay.nets.diffusion import (
    GuidedDDIMSampler,
)
from assay.privacy import (
    GuidedDiffusionPoisoner,
    PoisonGoal,
)
from assay.privacy.poisoning import (
    gradient_alignment_loss,
    poison_target_gradient,
)
from assay.studies.privacy.guided_diffusion_poisoning import cells, study, worlds

SMOKE = study.STUDY.scales["smoke"]
pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("guided-diffusion-poisoning")


@pytest.fixture(scope="module")
def digits():
    return worlds.images("digits", 8)


@pytest.fixture(scope="module")
def world(digits):
    return worlds.build_world(digits, 300, ((), (32,)), 40, seed=0)


def test_every_claim_is_measured_with_both_models_and_shown(run):
    assert {evidence.claim for evidence in run.evidence if evidence.bar} == {"C1", "C2", "C3", "C4"}
    assert {evidence.what.split(":")[0] for evidence in run.evidence} == {*study.MODELS, "backdoor"}
    names = {figure["name"] for figure in run.figures}
    assert names == {f"{kind}-{model}" for kind in ("bases", "victims") for model in study.MODELS} | {
        "victims-backdoor"
    }


def test_a_target_gives_the_same_figures_again():
    cell = (replace(SMOKE, victims=1), "mixture", 3, {})
    first, again = study.poison(cell), study.poison(cell)
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_surrogate_and_judge_are_two_networks_that_learned(world):
    weights = [flatten(named_parameters(model)) for model in (world.surrogate, world.judge)]
    assert not torch.equal(*weights)
    for model in (world.surrogate, world.judge):
        assert (predict(model, world.x).argmax(1) == world.y).double().mean() > 0.9


def test_goals_are_right_at_first_and_aim_elsewhere(world):
    x, y = world.test
    classes = set()
    for seed in range(120):
        goal = worlds.draw_goal(world, seed)
        (place,) = (x == goal.x).flatten(1).all(1).nonzero()[:, 0]
        assert predict(world.surrogate, goal.x).argmax() == y[place]
        assert goal.label != y[place]
        classes.add(goal.label)
    assert classes == set(range(10))  # one of them is missed with a probability of 3e-5


def test_a_backdoor_is_crafted_on_training_images_and_judged_on_test_images(world):
    known, unseen = worlds.draw_backdoor(world, 4)
    assert known.label == unseen.label
    for goal, (x, y) in ((known, (world.x, world.y)), (unseen, world.test)):
        assert (goal.x[:, :, -2:, -2:] == 1).all()
        bare = x.clone()
        bare[:, :, -2:, -2:] = 1
        places = (goal.x[:, None] == bare[None]).flatten(2).all(2)
        (source,) = {int(y[row.nonzero()[0]]) for row in places}
        assert source != goal.label
        assert len(goal.x) == (y == source).sum()


def test_bases_are_chosen_by_their_match(world):
    sampler = GuidedDDIMSampler(lambda x, t: x, worlds.study_schedule(), stride=50, recurrence=1)
    poisoner = GuidedDiffusionPoisoner(world.surrogate, sampler)
    goal = worlds.draw_goal(world, 0)
    bases, figures = cells.make_bases(poisoner, world, goal, 5, seed=1)
    real = world.x[world.y == goal.label]
    target = poison_target_gradient(world.surrogate, goal)
    losses = gradient_alignment_loss(world.surrogate, real, goal.labels(len(real)), target, per_sample=True)
    assert torch.equal(bases["best"], real[losses.argsort()[:5]])
    torch.testing.assert_close(figures["mismatch: real"], losses.mean())
    torch.testing.assert_close(figures["mismatch: best 16"], losses.sort().values[:16].mean())
    assert all(any(torch.equal(base, image) for image in real) for base in bases["random"])


def test_distances_are_to_the_nearest():
    x, others = torch.tensor([[0.0, 0.0], [0.0, 4.0]]), torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    assert cells.nearest(x, others) == 3.0


def test_a_mixture_has_components_of_every_class(digits):
    denoiser = worlds.fit_mixture(digits, 2, worlds.study_schedule(), 0)
    assert denoiser.means.shape == (20, 64)
    for label in range(10):
        mean = 2 * digits.x_train[digits.y_train == label].flatten(1).mean(0) - 1
        own = slice(2 * label, 2 * label + 2)
        found = (denoiser.weights[own, None] * denoiser.means[own]).sum(0) / denoiser.weights[own].sum()
        torch.testing.assert_close(found, mean, rtol=0, atol=1e-4)


def test_unet_weights_make_the_denoiser_that_was_trained(digits):
    schedule = worlds.study_schedule()
    train = {"steps": 2, "batch_size": 4, "seed": 1}
    weights = worlds.train_unet(digits, (4, 8), schedule, **train)
    again = worlds.train_unet(digits, (4, 8), schedule, **train)
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    unet = worlds.new_unet(1, (4, 8), 7)
    unet.load_state_dict(weights)
    x = torch.randn(2, 1, 8, 8, generator=seeded(0))
    assert torch.equal(worlds.trained_unet(weights, (4, 8))(x, 3), unet.eval()(x, 3).sample)


def test_the_paper_scale_builds_its_networks(digits):
    networks = (study.STUDY.scales["paper"].convolutions, (8,))
    world = worlds.build_world(digits, 100, networks, 1, seed=0)
    goal = PoisonGoal(world.x[:1], 3)
    assert poison_target_gradient(world.surrogate, goal).isfinite().all()
