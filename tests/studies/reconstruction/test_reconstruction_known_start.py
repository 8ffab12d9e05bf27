import pytest
import torch

from assay.studies.reconstruction.reconstruction_known_start import study
from assay.studies.reconstruction.reconstruction_known_start.cells import counts
from assay.studies.reconstruction.reconstruction_known_start.networks import (
    ONE_LAYER,
    ROWS,
    TWO_LAYERS,
    balanced,
    build,
    own_seed,
    train_row,
)
from assay.studies.reconstruction.reconstruction_known_start.settings import Settings

SETTINGS = Settings(digits="fashion", clothes="fashion", n=6, width=40, deep_width=30, most_epochs=3, base_images=64)


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("reconstruction-known-start")


def test_every_claim_is_measured_and_what_is_not_says_why(run):
    assert {entry.claim for entry in run.evidence if entry.values} == set(study.STUDY.claims)
    assert [entry.reason for entry in run.evidence if not entry.values] == [study.STAND_IN]


def test_the_tables_have_every_kind_of_network(run):
    tables = {table["name"]: table["rows"] for table in run.tables}
    assert [row[0] for row in tables["networks"]] == list(ROWS)
    assert [row[:2] for row in tables["displacement"]] == [[name, n] for name in ("SGD", "Adam") for n in (2, 10)]
    assert {*ONE_LAYER, *TWO_LAYERS, "fine-tuned", "Adam"} == set(ROWS)


def test_seeds_and_counts_hold_at_smoke_and_adam_gives_nothing(run):
    values = {entry.claim: entry.values for entry in run.evidence if entry.claim in {"C1", "C2", "C7"}}
    assert values == {"C1": (1.0, 1.0), "C2": (1.0, 1.0), "C7": (0.0, 0.0)}
    exact = {row[0]: row[1] for row in next(table["rows"] for table in run.tables if table["name"] == "networks")}
    assert exact["Adam"] == "0 [0, 0]"


def test_members_and_held_out_images_are_balanced_and_apart():
    y = torch.arange(60) % 10
    seen, unseen = balanced(y, 20, seed=3)
    assert y[seen].bincount().tolist() == y[unseen].bincount().tolist() == [2] * 10
    assert len({*seen.tolist(), *unseen.tolist()}) == 40


def test_a_network_begins_at_what_its_small_seed_draws():
    trained = train_row(SETTINGS, ROWS["SGD"], 5042, n=6)
    torch.manual_seed(own_seed(SETTINGS, 5042))
    torch.testing.assert_close(trained.start["1.weight"], torch.nn.Linear(784, 40).weight.detach(), rtol=0, atol=0)


def test_a_fine_tuned_network_begins_at_its_trained_base():
    trained = train_row(SETTINGS, ROWS["fine-tuned"], 7, n=10)
    drawn = build(SETTINGS, ROWS["fine-tuned"], 784, 7).state_dict()
    assert not torch.equal(trained.start["1.weight"], drawn["1.weight"])


def test_counts_take_the_mean_out_and_need_candidates():
    x = torch.eye(3, 8)
    mean = torch.full((8,), 5.0)
    assert counts("found", x + mean, (x + mean)[:2], mean) == {"found > 0.9": 2, "found > 0.75": 2}
    assert counts("found", x, x[:0], mean) == {"found > 0.9": 0, "found > 0.75": 0}
