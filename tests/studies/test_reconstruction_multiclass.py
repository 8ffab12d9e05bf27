from dataclasses import replace

import pytest
import torch

from assay.core import accuracy, generator
from assay.lab import run_study
from assay.studies.reconstruction import reconstruction_multiclass as study
from assay.studies.reconstruction._victims import Victim, draw, train

VICTIM = Victim("fashion", 10, (20,), 400)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_study(study.STUDY, scale="smoke", out=tmp_path_factory.mktemp("runs"))


def test_every_claim_is_measured_or_says_why_not(run):
    assert {entry.claim for entry in run.evidence if entry.values} == {"C1", "C2", "C3", "C4"}
    assert [entry.reason for entry in run.evidence if entry.claim == "C5"] == [study.NO_HUNDRED]
    assert {figure["name"] for figure in run.figures} == {"recovered", "counts"}


def test_every_count_has_its_nulls(run):
    what = [entry.what for entry in run.evidence if entry.claim == "C1"]
    for name in ("converged", "short training", "two hidden layers"):
        assert sum(entry.startswith(name) and "null" in entry for entry in what) == 2


@pytest.mark.parametrize("classes", [2, 10])
def test_draws_are_balanced_and_apart(classes):
    x, y, others = draw(replace(VICTIM, n=20, classes=classes), generator(0))
    assert y.bincount().tolist() == [20 // classes] * classes
    assert len(others) == 20
    assert (torch.cdist(x.flatten(1), others.flatten(1)) > 0).all()


def test_victims_fit_their_images():
    trained = train(VICTIM, 0)
    logits = trained.model((trained.x - trained.mean).flatten(1))
    assert accuracy(logits, trained.y) == 1.0
