from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.core import flatten, named_parameters, parameter_distance, seeded
from assay.data import load
from assay.lab import Grid
from assay.studies.privacy.certified_watermark import attacks, cells, figures, owners, study

SMOKE = study.STUDY.scales["smoke"]
SHORT = replace(SMOKE, recipe=replace(SMOKE.recipe, epochs=2))


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("certified-watermark")


@pytest.fixture(scope="module")
def scene():
    return owners.make_scene(SHORT, "overlay", 5)


@pytest.fixture(scope="module")
def watermarked():
    return cells.watermark(SHORT, "uniform", "none", 3)


def test_every_claim_is_measured_and_shown(run):
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3"}
    assert {figure["name"] for figure in run.figures} == {"certificates", "unlearning"}
    assert [table["name"] for table in run.tables][:2] == ["families", "removals"]


def test_owner_and_attacker_hold_disjoint_halves(scene):
    data = load(SMOKE.source)
    halves = [sorted(image.numpy().tobytes() for image in x) for x, _ in (scene.owner, scene.attacker)]
    assert len(halves[1]) == len(data.x_train) // 2
    assert sorted(halves[0] + halves[1]) == sorted(image.numpy().tobytes() for image in data.x_train)
    assert len(scene.test[0]) == len(data.x_test)


def test_watermarks_differ_in_training_only(scene):
    still = replace(SHORT, recipe=replace(SHORT.recipe, lr=1e-12))
    untrained, trained = (
        {kind: owners.train_network(settings, scene, kind, 5) for kind in owners.WATERMARKS}
        for settings in (still, SHORT)
    )
    assert all(parameter_distance(untrained["none"], network) < 1e-6 for network in untrained.values())
    assert all(parameter_distance(trained["none"], trained[kind]) > 0.01 for kind in owners.WATERMARKS[1:])
    assert parameter_distance(trained["plain"], trained["repeated"]) > 0.01


@pytest.mark.parametrize("family", owners.FAMILIES)
def test_triggers_of_every_family_fit_the_images(family):
    x = load(SMOKE.source).x_train[:30]
    triggers = owners.draw_triggers(family, x, 6, seeded(0))
    assert triggers.x.shape == (6, 1, 8, 8)
    assert 0 <= triggers.x.min() < triggers.x.max() <= 1
    assert not any(torch.equal(image, other) for image in triggers.x for other in x)


def test_an_attacked_network_is_the_one_that_was_certified(watermarked):
    scene, network, _ = cells.restore(SHORT, 3, watermarked)
    assert torch.equal(flatten(named_parameters(network)), watermarked["weights"])
    assert (network(scene.test[0]).argmax(1) == scene.test[1]).double().mean() == watermarked["test accuracy"]
    assert (network(scene.triggers.x).argmax(1) == 4).double().mean() == watermarked["trigger accuracy"]


def test_a_bound_that_does_not_hold_is_found_broken(watermarked):
    # The certificate of another score, always one, which this network does not reach.
    tries = cells.try_bounds(SHORT, 3, watermarked | {"samples": torch.ones(SHORT.draws)})
    assert tries["bound"].shape == (len(SHORT.radii), len(attacks.confined_attacks(SHORT, 1.0)))
    assert (tries["broken"] == 1).all()
    assert (tries["bound"] == 1).all()
    assert (tries["median"] < 1).all()
    assert (tries["distance"] <= SHORT.radii[0] * SHORT.sigma + 1e-5).all()


def test_where_nothing_is_certified_there_is_nothing_to_break(watermarked):
    tries = cells.try_bounds(SHORT, 3, watermarked | {"samples": torch.zeros(SHORT.draws)})
    assert not tries["bound"].any()
    assert not tries["broken"].any()
    assert figures.try_rows(SHORT, Grid({"seed": (3,)}, (tries,))) == []


def test_slack_is_that_of_bounds_that_exist():
    n_attacks = len(attacks.confined_attacks(SHORT, 1.0))
    bound, median = np.zeros((2, n_attacks)), np.full((2, n_attacks), 0.5)
    bound[0, 0], median[0, 0] = 0.25, 0.75
    tries = {"bound": bound, "median": median, "broken": bound > 0, "distance": bound}
    (row,) = figures.try_rows(SHORT, Grid({"seed": (3,)}, (tries,)))
    assert row == {"attack": "random shift", "bounds tried": 1, "broken": 1, "least median": 0.75, "least slack": 0.5}


def test_a_cell_repeats(watermarked):
    again = cells.watermark(SHORT, "uniform", "none", 3)
    assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(again[name])) for name, value in watermarked.items())
