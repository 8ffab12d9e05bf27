from dataclasses import replace

import pytest
import torch

from assay.lab import Grid
from assay.nets import Recipe
from assay.studies.adversarial.logit_difference_universality import cells, networks, study
from assay.studies.adversarial.logit_difference_universality.exact import first_order_errors

SETTINGS = replace(
    study.STUDY.scales["smoke"],
    n_train=200,
    recipe=Recipe(hidden=(8, 8), epochs=1, batch_size=128),
    n_other=20,
    n_rare=400,
)


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("logit-difference-universality")


def test_what_is_exact_holds_at_any_scale(run):
    assert [e.verdict for e in run.evidence if e.what.startswith("linear network")] == ["holds"]


def test_the_excess_error_stands_beside_the_changed_decisions(run):
    (table,) = [table for table in run.tables if table["name"] == "kinds"]
    changed, excess = (table["columns"].index(column) for column in ("changed", "excess"))
    assert all(0 <= row[excess] <= row[changed] <= 1 for row in table["rows"])
    assert any(row[excess] < row[changed] for row in table["rows"])


def test_first_order_is_exact_on_a_linear_network_and_needs_ten_flips():
    layer = torch.nn.Linear(1, 2, bias=False).double()
    layer.weight.data = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    x = ((torch.arange(100, dtype=torch.float64) + 0.5) / 100)[:, None]
    assert first_order_errors(layer, x, torch.tensor([0.05, 0.1, 0.2])) == [0.0, 0.0], "0.05 flips five"


def test_a_network_that_flips_too_rarely_is_attacked_on_more_images():
    found = {n: cells.follow_kind(replace(SETTINGS, n_fgsm=n), "untrained", 0) for n in (1, 400)}
    assert found[1]["FGSM"] == found[400]["FGSM"] is not None


def test_every_claim_is_measured(run):
    assert {e.claim for e in run.evidence if e.values} == {"C1", "C2", "C3", "C4", "C5"}
    assert {figure["name"] for figure in run.figures} == {"error-curves", "training"}


@pytest.mark.parametrize("kind", [*networks.KINDS, *networks.OTHERS])
def test_each_kind_is_what_it_says(kind):
    model, x, y = networks.trained(SETTINGS, kind, 0)
    assert x.dtype == next(model.parameters()).dtype == torch.float64
    assert len(x) == len(y)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in model) == (1 if kind == "linear" else 3)
    fresh = networks.build(SETTINGS, kind, x.shape[1], 0).double()
    same = all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))
    assert same == (kind == "untrained")


def test_shuffled_labels_keep_the_images_and_the_counts():
    x, y, *_ = networks.flat_images(SETTINGS, "perceptron", 0)
    same_x, shuffled, *_ = networks.flat_images(SETTINGS, "shuffled labels", 0)
    assert torch.equal(x, same_x)
    assert not torch.equal(y, shuffled)
    assert torch.equal(y.bincount(), shuffled.bincount())


@pytest.mark.parametrize("skip", [False, True])
def test_a_child_has_the_depth_and_skips_of_its_architecture(skip):
    architecture = {"width": 32, "depth": 3, "activation": "tanh", "skip": skip}
    model = networks.child(architecture, 6, 0)
    layer = next(module for module in model if isinstance(module, networks.SkipLayer))
    hidden = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(hidden), torch.tanh(layer.dense(hidden)) + (hidden if skip else 0))
    assert sum(isinstance(module, networks.SkipLayer) for module in model) == 3
    assert model(torch.zeros(2, 6)).shape == (2, 10)


def test_missing_figures_are_not_averaged_away(run):
    assert study.is_missing(Grid({"seed": (0, 1)}, ({"PGD": 1.0}, {"PGD": None})), "PGD")
    assert not study.is_missing(Grid({"seed": (0, 1)}, ({"PGD": 1.0}, {"PGD": 0.0})), "PGD")
    (table,) = [table for table in run.tables if table["name"] == "kinds"]
    untrained = next(row for row in table["rows"] if row[0] == "untrained")
    assert untrained[table["columns"].index("PGD")] is None, "fifty images flip too rarely for a fit"
