from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.core import binary_cross_entropy, cross_entropy, squared_error
from assay.lab import Grid, Lab
from assay.reconstruction.kkt.reconstructor import LEAST_CANDIDATES
from assay.studies.reconstruction.reconstruction_general_losses import cells as cell
from assay.studies.reconstruction.reconstruction_general_losses import networks, study
from assay.studies.reconstruction.reconstruction_general_losses.settings import Settings
from assay.studies.reconstruction.shared.victims import Victim, huber, network, task, train

VICTIM = Victim("digits", 10, (12,), 30)


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("reconstruction-general-losses")


def evidence(run, claim):
    return {entry.what: entry for entry in run.evidence if entry.claim == claim}


def test_every_count_has_its_nulls(run):
    settings = study.STUDY.settings("smoke")
    for claim, names in {"C1": networks.ten_classes(settings), "C3": networks.regressions(settings)}.items():
        for name in names:
            assert sum(what.startswith(f"{name}: null") for what in evidence(run, claim)) == 2
    for name in networks.regressions(settings):
        assert f"{name}: training images recovered with NCC > 0.75, of 10" in evidence(run, "C3")
    assert sum("less that" in what for what in evidence(run, "C2")) == 4


def test_the_table_has_every_network_once_and_its_counts_fit(run):
    (found,) = run.tables
    table = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    settings = study.STUDY.settings("smoke")
    assert len(table) == len(settings.ten_each) + 2 + 2 + len(settings.decays) + 1 + 2 * len(settings.sizes)
    mean = {name: {key: float(row[key].split()[0]) for key in found["columns"][1:]} for name, row in table.items()}
    assert all(row["NCC > 0.9"] <= row["NCC > 0.75"] <= 10 for row in mean.values())
    assert mean["10 hidden units"]["distinct units"] <= 10
    assert table["weight decay 0.001"] == table["30 hidden units"] | {"network": "weight decay 0.001"}


class Notebook(Lab):
    """Keep what is measured, by what it is."""

    def __init__(self):
        self.measured = {}

    def measure(self, claim, values, *, what, **bar):
        self.measured[what] = list(map(float, values))


def grid(medians):
    """Return networks of two seeds with these medians, and as many counts, by name."""
    cells = [{"median NCC": value, "NCC > 0.75": value} for values in medians.values() for value in values]
    return Grid({"network": tuple(medians), "seed": (0, 1)}, tuple(cells))


def test_neurons_are_ranked_within_each_seed():
    settings, notebook = study.STUDY.settings("small"), Notebook()
    rising_and_falling = [(0.1, 0.9), (0.2, 0.8), (0.9, 0.7)]
    medians = dict(zip(map(networks.wide, settings.widths), rising_and_falling, strict=True))
    medians |= dict(zip(map(networks.sized, settings.sizes), rising_and_falling, strict=True))
    study.measure_neurons(notebook, settings, grid(medians))
    assert [value for values in notebook.measured.values() for value in values] == pytest.approx(
        [1, -1, 0.8, -0.2, 1, -1]
    )


def test_weight_decays_are_paired_over_seeds():
    settings, notebook = study.STUDY.settings("smoke"), Notebook()
    medians = {networks.decayed(0.0): (1, 2), networks.decayed(1e-3): (5, 4), networks.NEAR_ZERO: (3, 7)}
    study.measure_decays(notebook, settings, grid(medians))
    assert list(notebook.measured.values()) == [[4, 2], [4, 2], [2, -3], [2, -3]]
    counts, *_, medians = notebook.measured
    assert counts == "training images recovered with NCC > 0.75, weight decay 0.001 less none, 10 images"
    assert medians.startswith("median")
    assert medians.endswith("weight decay 0.001 less none from a first layer near zero, 10 images")


def test_every_bar_names_a_network():
    settings = study.STUDY.settings("small")
    assert set(study.SHARES) <= {*networks.ten_classes(settings), *networks.regressions(settings)}


@pytest.mark.parametrize(("loss", "signs"), [("squared", 2), ("logistic", 1)])
def test_multipliers_of_either_sign_are_scored_with_both_signs(monkeypatch, loss, signs):
    seen = []

    def spy(candidates, *args, **options):
        seen.append(candidates)
        return score(candidates, *args, **options)

    score = cell.score_reconstructions
    monkeypatch.setattr(cell, "score_reconstructions", spy)
    settings = Settings(n_restarts=1, max_iter=3)
    found = cell.attack(settings, replace(VICTIM, loss=loss), 0)
    (candidates,) = seen
    searched = max(4 * int(found["rank"]), LEAST_CANDIDATES)  # the default number of candidates
    assert len(candidates) == searched * signs
    assert (signs == 1) or torch.equal(candidates[:searched], -candidates[searched:])


@pytest.mark.parametrize("channels", [0, 2])
def test_the_gradient_norm_is_how_far_one_step_of_weight_decayed_descent_goes(channels):
    victim = replace(VICTIM, channels=channels, weight_decay=0.1)
    trained = train(victim, 0)
    expected = cell.gradient_norm(victim, trained)
    before = nn.utils.parameters_to_vector(trained.model.parameters()).detach()
    inputs = trained.x - trained.mean
    trained.model.zero_grad()
    binary_cross_entropy(trained.model(inputs if channels else inputs.flatten(1)), trained.y).backward()
    torch.optim.SGD(trained.model.parameters(), lr=1.0, weight_decay=0.1).step()
    moved = nn.utils.parameters_to_vector(trained.model.parameters()).detach() - before
    torch.testing.assert_close(expected, moved.norm(), rtol=1e-4, atol=0)


def test_the_effective_rank_of_equal_singular_values_is_their_number():
    orthogonal = torch.linalg.qr(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double())[0]
    assert cell.effective_rank(3 * orthogonal).item() == pytest.approx(4)
    assert cell.effective_rank(torch.ones(5, 3).double()).item() == pytest.approx(1)


def test_losses_and_targets_fit_the_outputs():
    y = torch.tensor([0, 1])
    assert task(VICTIM, y) == (binary_cross_entropy, y)
    assert task(replace(VICTIM, classes=10), y)[0] is cross_entropy
    for loss, function in (("squared", squared_error), ("huber", huber)):
        found, targets = task(replace(VICTIM, loss=loss), y)
        assert found is function
        assert targets.tolist() == [-1, 1]


def test_the_huber_loss_is_quadratic_up_to_one_and_linear_beyond():
    outputs, targets = torch.tensor([[0.5], [3.0]]), torch.tensor([1, -1])
    assert huber(outputs, targets).item() == pytest.approx((0.5**2 / 2 + (4 - 0.5)) / 2)


def test_networks_are_built_as_told():
    assert [type(layer) for layer in network(VICTIM, (1, 8, 8), 0)] == [nn.Linear, nn.ReLU, nn.Linear]
    convolution = network(replace(VICTIM, channels=3, classes=10), (1, 8, 8), 0)
    assert convolution(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert convolution[0].weight.shape == (3, 1, 3, 3)
    near_zero = network(replace(VICTIM, first_layer_std=1e-4), (1, 8, 8), 0)
    assert near_zero[0].weight.abs().max() < 1e-3 < near_zero[2].weight.abs().max()
