from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.core import accuracy, seeded
from assay.data import Dataset
from assay.nets import mlp
from assay.reconstruction import KKTReconstructor, score_reconstructions
from assay.studies.reconstruction.reconstruction_multiclass import networks, study
from assay.studies.reconstruction.reconstruction_multiclass.cells import precision, score, search, train_network
from assay.studies.reconstruction.reconstruction_multiclass.networks import Kind
from assay.studies.reconstruction.reconstruction_multiclass.settings import Settings
from assay.studies.reconstruction.shared.attack import objective_of
from assay.studies.reconstruction.shared.victims import Trained, Victim, draw, halves, load_trained, train

VICTIM = Victim("fashion", 10, (20,), 400)


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("reconstruction-multiclass")


def test_every_claim_is_measured_or_says_why_not(run):
    assert {entry.claim for entry in run.evidence if entry.values} == {"C1", "C2", "C3", "C4", "C6"}
    assert [entry.reason for entry in run.evidence if entry.claim == "C1" and not entry.values] == [study.NO_COLOUR]
    assert [entry.reason for entry in run.evidence if entry.claim == "C5"] == [study.NO_HUNDRED]
    assert {figure["name"] for figure in run.figures} == {"recovered", "counts"}


def test_every_count_has_its_nulls(run):
    settings = study.STUDY.settings("smoke")
    for claim, kinds in (("C1", networks.binary_kinds(settings)), ("C2", networks.ten_class_kinds(settings))):
        what = [entry.what for entry in run.evidence if entry.claim == claim]
        for name in kinds:
            assert sum(entry.startswith(f"{name}: null") for entry in what) == 2


def test_the_table_has_every_network(run):
    (found,) = run.tables
    table = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    sizes = {
        networks.CONVERGED: 10,
        "binary networks of 12 images": 12,
        networks.TEN_CLASSES: 10,
        f"{networks.TEN_CLASSES}, 20 images": 20,
        "weight decay 0.001": 10,
    }
    assert {name: table[name]["n"] for name in sizes} == sizes
    mean = {name: {key: float(str(row[key]).split()[0]) for key in found["columns"][3:]} for name, row in table.items()}
    assert all(mean[name]["NCC > 0.9"] <= mean[name]["NCC > 0.75"] <= row["n"] for name, row in table.items())
    assert {row["seeds"] for row in table.values()} == {2}


def test_restarts_are_cells_of_their_own(run):
    names = [path.stem for path in (run.folder / "cells").glob("converged-binary-networks-*")]
    assert sum("-training-" in name for name in names) == 2
    assert sum("-search-" in name for name in names) == 4  # of two and of one restart for each seed
    assert sum("-score-" in name for name in names) == 2


def test_cells_together_find_what_fits_together_find():
    kind, settings = Kind(VICTIM, seeds=1, n_restarts=3), Settings(restarts_at_once=2, max_iter=30)
    weights = train_network(settings, kind, 0)
    searches = [search(settings, kind, 0, weights, draw=place) for place in (0, 1)]
    assert [found["restarts"].unique().tolist() for found in searches] == [[0, 1], [2]]
    together = score(settings, kind, 0, {"weights": weights, "searches": searches})
    trained = load_trained(VICTIM, 0, weights)
    fits = [
        KKTReconstructor(n_restarts=n_restarts, random_state=place, n_iter=30).fit(trained.model)
        for place, n_restarts in enumerate((2, 1))
    ]
    apart = score_reconstructions(torch.cat([fit.pool_ for fit in fits]), trained.x, mean=trained.mean)
    assert together["median NCC"] == pytest.approx(apart.ncc.median().item(), abs=1e-4)
    torch.testing.assert_close(together["NCC"], apart.ncc.sort(descending=True).values, atol=1e-4, rtol=0)


def test_a_network_is_scored_where_nothing_agrees():
    kind, settings = Kind(VICTIM, seeds=1, n_restarts=1), Settings(max_iter=5)
    weights = train_network(settings, kind, 0)
    alone = search(settings, kind, 0, weights, draw=0)
    found = score(settings, kind, 0, {"weights": weights, "searches": [alone]})
    assert found["agreed, precision"] == found["agreed, NCC > 0.75"] == 0
    assert np.isfinite(found["precision"])


def test_objectives_fit_losses_and_classes():
    assert objective_of(VICTIM) == "binary"
    assert objective_of(replace(VICTIM, classes=10)) == "vector"
    assert objective_of(replace(VICTIM, loss="huber")) == "regression"


def test_weights_bring_a_trained_network_back():
    trained = train(VICTIM, 0)
    again = load_trained(VICTIM, 0, trained.model.state_dict())
    assert torch.equal(again.x, trained.x)
    inputs = trained.x.flatten(1)
    assert torch.equal(again.model(inputs), trained.model(inputs))


def test_every_bar_names_a_network():
    settings = study.STUDY.settings("small")
    named = {**networks.binary_kinds(settings), **networks.ten_class_kinds(settings)}
    assert set(study.SHARES) <= set(named)


def test_precision_is_the_share_of_candidates_that_resemble_an_image():
    x = torch.rand(4, 1, 5, 5, generator=seeded(0))
    trained = Trained(mlp((25, 2)), x, torch.zeros(4), x)
    noise = torch.randn(200, 1, 5, 5, generator=seeded(1))
    candidates = torch.cat([2 * (x[:3] - x.mean(0)), noise])
    hits = [max(np.corrcoef(c.ravel(), (image - x.mean(0)).ravel())[0, 1] for image in x) > 0.75 for c in candidates]
    assert precision(trained, candidates) == pytest.approx(np.mean(hits))
    assert sum(hits) >= 3


def test_vehicles_stand_against_animals():
    x, y = torch.rand(10, 3, 4, 4, generator=seeded(0)), torch.arange(10)
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    data = Dataset("cifar10", x, y, x, y, class_names=names)
    vehicles = [name in ("airplane", "automobile", "ship", "truck") for name in names]
    assert halves(data).tolist() == vehicles
    assert halves(replace(data, name="mnist")).tolist() == (y % 2).tolist()


@pytest.mark.parametrize("classes", [2, 10])
def test_draws_are_balanced_and_apart(classes):
    x, y, others = draw(replace(VICTIM, n=20, classes=classes), seeded(0))
    assert y.bincount().tolist() == [20 // classes] * classes
    assert len(others) == 20
    assert (torch.cdist(x.flatten(1), others.flatten(1)) > 0).all()


def test_victims_fit_their_images():
    trained = train(VICTIM, 0)
    logits = trained.model((trained.x - trained.mean).flatten(1))
    assert accuracy(logits, trained.y) == 1.0
