from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.core import accuracy, seeded
from assay.data import Dataset
from assay.nets import mlp
from assay.reconstruction import KKTReconstructor, score_reconstructions
from assay.studies.reconstruction.reconstruction_multiclass import study
from assay.studies.reconstruction.shared.attack import (
    Findings,
    Limits,
    Search,
    Training,
    precision,
    score,
    search,
    trained_weights,
)
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
    what = [entry.what for entry in run.evidence if entry.claim == "C1"]
    for name in ("converged", "short training", "two hidden layers", "three hidden layers", "12 images"):
        assert sum(entry.startswith(f"{name}:") and "null" in entry for entry in what) == 2


def test_the_table_has_every_network(run):
    (found,) = run.tables
    table = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    sizes = {"converged": 10, "12 images": 12, "ten classes": 10, "ten classes, 20 images": 20}
    assert {name: table[name]["n"] for name in sizes} == sizes
    assert all(row["n90"] <= row["n75"] <= row["n"] and row["seeds"] == 2 for row in table.values())


def test_restarts_are_cells_of_their_own(run):
    names = [path.stem for path in (run.folder / "cells").glob("converged-*")]
    assert sum(name.startswith("converged-training") for name in names) == 2
    assert sum(name.startswith("converged-search") for name in names) == 4  # of two and of one restart for each seed
    assert sum(name.startswith("converged-score") for name in names) == 2


def test_cells_together_find_what_fits_together_find():
    training, limits = Training(VICTIM, 0, "cpu"), Limits(3, 2, 30, None)
    weights = trained_weights(training)
    cells = [Search(training, weights, limits, draw) for draw in (0, 1)]
    assert [cell.n_restarts for cell in cells] == [2, 1]
    searches = [search(cell) for cell in cells]
    assert torch.cat([found["restarts"] for found in searches]).unique().tolist() == [0, 1, 2]
    together = score(Findings(training, weights, searches))
    trained = load_trained(VICTIM, 0, weights)
    fits = [
        KKTReconstructor(n_restarts=cell.n_restarts, random_state=cell.draw, n_iter=30).fit(trained.model)
        for cell in cells
    ]
    apart = score_reconstructions(torch.cat([fit.pool_ for fit in fits]), trained.x, mean=trained.mean)
    torch.testing.assert_close(together["median"], apart.ncc.median().double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(together["ncc"], apart.ncc.sort(descending=True).values.double(), atol=1e-4, rtol=0)


def test_a_network_is_scored_where_nothing_agrees():
    training = Training(VICTIM, 0, "cpu")
    weights = trained_weights(training)
    alone = search(Search(training, weights, Limits(1, 1, 5, None), 0))
    found = score(Findings(training, weights, [alone]))
    assert found["precision"] == found["chosen75"] == 0
    assert found["pool_precision"].isfinite()


def test_weights_bring_a_trained_network_back():
    trained = train(VICTIM, 0)
    again = load_trained(VICTIM, 0, trained.model.state_dict())
    assert torch.equal(again.x, trained.x)
    inputs = trained.x.flatten(1)
    assert torch.equal(again.model(inputs), trained.model(inputs))


def test_every_bar_names_a_network():
    settings = study.STUDY.settings("small")
    named = {**study.binary_kinds(settings), **study.several_class_kinds(settings)}
    assert set(study.SHARES) <= set(named)


def test_precision_is_the_share_of_candidates_that_resemble_an_image():
    x = torch.rand(4, 1, 5, 5, generator=seeded(0))
    trained = Trained(mlp((25, 2)), x, torch.zeros(4), x)
    noise = torch.randn(200, 1, 5, 5, generator=seeded(1))
    candidates = torch.cat([2 * (x[:3] - x.mean(0)), noise])
    hits = [max(np.corrcoef(c.ravel(), (image - x.mean(0)).ravel())[0, 1] for image in x) > 0.75 for c in candidates]
    assert precision(trained, candidates).item() == pytest.approx(np.mean(hits))
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
