from dataclasses import replace

import pytest
import torch

from assay.core import parameter_distance, seeded
from assay.privacy import (
    certify_watermark,
)
from assay.studies.privacy.certified_watermark import attacks, study
from assay.studies.privacy.certified_watermark import owners as watermarked

SMOKE = study.STUDY.scales["smoke"]


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("certified-watermark")


@pytest.fixture(scope="module")
def scene():
    return watermarked.make_scene(replace(SMOKE, epochs=2), "overlay", 5)


def test_every_claim_is_measured_and_shown(run):
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3"}
    assert {figure["name"] for figure in run.figures} == {"certificates", "unlearning"}


def test_owner_and_attacker_hold_halves_of_their_own(scene):
    data = watermarked.load(SMOKE.source)
    theirs = {image.numpy().tobytes() for image in scene.attacker[0]}
    everyone = {image.numpy().tobytes() for image in data.x_train}
    assert len(scene.attacker[0]) == len(data.x_train) // 2
    assert len(scene.test[0]) == len(data.x_test)
    assert theirs < everyone


def test_arms_differ_in_training_only(scene):
    untrained = watermarked.make_scene(replace(SMOKE, epochs=2, learning_rate=1e-12), "overlay", 5).networks
    assert all(parameter_distance(untrained["none"], network) < 1e-6 for network in untrained.values())
    assert all(parameter_distance(scene.networks["none"], scene.networks[arm]) > 0.01 for arm in study.ARMS[1:])
    assert parameter_distance(scene.networks["plain"], scene.networks["repeated"]) > 0.01


@pytest.mark.parametrize("family", watermarked.FAMILIES)
def test_triggers_of_every_family_fit_the_images(family):
    x = watermarked.load(SMOKE.source).x_train[:30]
    triggers = watermarked.draw_triggers(family, x, 6, seeded(0))
    assert triggers.x.shape == (6, 1, 8, 8)
    assert 0 <= triggers.x.min() < triggers.x.max() <= 1
    assert not any(torch.equal(image, other) for image in triggers.x for other in x)


def test_a_bound_that_does_not_hold_is_found_broken(scene):
    # The certificate of another score, always one, which this network does not reach.
    wrong = certify_watermark(torch.ones(SMOKE.draws), SMOKE.sigma, [])
    tries = attacks.try_bounds(SMOKE, scene, scene.networks["none"], wrong, 0)
    assert len(tries) == len(list(attacks.confined(SMOKE, 1.0))) * len(SMOKE.radii)
    assert all(each["broken"] and each["bound"] == 1 and each["median"] < 1 for each in tries)
    assert all(each["distance"] <= SMOKE.radii[0] * SMOKE.sigma + 1e-5 for each in tries)


def test_where_nothing_is_certified_there_is_nothing_to_break(scene):
    nothing = certify_watermark(torch.zeros(SMOKE.draws), SMOKE.sigma, [])
    assert attacks.try_bounds(SMOKE, scene, scene.networks["plain"], nothing, 0) == []


def test_a_cell_repeats():
    settings = replace(SMOKE, epochs=2)
    assert study.examine((settings, "uniform", 3)) == study.examine((settings, "uniform", 3))
