import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from assay.core import binary_cross_entropy, fit, seeded
from assay.data import load
from assay.nets import mlp
from assay.reconstruction import KKTReconstructor, normalized_correlation, train_in_span
from assay.reconstruction.kkt import ReconstructionVerdict
from assay.reconstruction.kkt.data_span import NoiseFloor
from assay.reconstruction.kkt.target import build_target
from assay.reconstruction.kkt.verdict import judge

SEARCH = {"n_restarts": 3, "n_iter": 200}


@pytest.fixture(scope="module")
def clothes():
    data = load("fashion")
    odd = data.y_train % 2
    chosen = torch.cat([(odd == parity).nonzero()[:5, 0] for parity in (0, 1)])
    x, others = data.x_train[chosen].flatten(1), data.x_train[chosen + 20].flatten(1)
    return x - x.mean(0), odd[chosen], others - x.mean(0)


def network():
    return mlp((784, 60, 1), generator=seeded(0))


def descended(clothes, *, weight_decay, n_iter):
    x, y, _ = clothes
    model = network()
    train_in_span(model, x, y, loss=binary_cross_entropy, weight_decay=weight_decay, n_iter=n_iter, lr=0.2)
    return model.eval()


def trained(clothes, model, optimizer, n_iter):
    x, y, _ = clothes
    fit(model, x, y, loss=binary_cross_entropy, optimizer=optimizer, n_iter=n_iter)
    return model.eval()


@pytest.fixture(scope="module")
def converged(clothes):
    return descended(clothes, weight_decay=5e-3, n_iter=1200)


def test_training_to_convergence_with_decay_is_found(clothes, converged):
    x, _, others = clothes
    found = KKTReconstructor(**SEARCH).fit(converged)
    verdict = found.verdict_
    assert verdict.outcome == "found"
    assert verdict.failures == verdict.advice == ()
    assert verdict.rank == 9  # one less than the samples, which are centred
    assert verdict.imbalance < 0.01
    assert verdict.n_agreed == (found.support_ >= 2).sum()
    assert verdict.unexplained_in_span == pytest.approx(found.residual_.mean().item(), rel=1e-6)
    assert verdict.explained == 1 - verdict.unexplained
    assert str(verdict).startswith("Samples found: ")
    near, far = (normalized_correlation(each, found.reconstructions_).amax(1) for each in (x, others))
    assert (near > 0.75).sum() >= 7
    assert (far > 0.75).sum() <= 1


def shuffled(model):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=seeded(1))].view_as(weight))
    return twin


def with_batch_norm(clothes):
    model = nn.Sequential(nn.Linear(784, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 1))
    return trained(clothes, model, partial(torch.optim.SGD, lr=0.1, weight_decay=5e-3), 200)


EMPTY = {
    "untrained": (lambda clothes, model: network(), "out of balance"),
    "shuffled": (lambda clothes, model: shuffled(model), "out of balance"),
    "no decay": (lambda clothes, model: descended(clothes, weight_decay=0.0, n_iter=300), "out of balance"),
    "stopped early": (lambda clothes, model: descended(clothes, weight_decay=5e-3, n_iter=15), "out of balance"),
    "Adam": (
        lambda clothes, model: trained(clothes, network(), partial(torch.optim.Adam, lr=1e-3), 100),
        "out of balance",
    ),
    "batch-norm": (lambda clothes, model: with_batch_norm(clothes), "batch-norm"),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_nothing_is_called_a_reconstruction_where_nothing_is_explained(kind, clothes, converged):
    build, reason = EMPTY[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(clothes, converged)
    found = KKTReconstructor(n_restarts=2, n_iter=100).fit(model)
    assert found.verdict_.outcome == "nothing found"
    assert reason in " ".join(found.verdict_.failures)
    assert any("init_state=" in advice for advice in found.verdict_.advice)
    lengths = {len(each) for each in (found.reconstructions_, found.support_, found.cohesion_, found.multipliers_)}
    assert lengths == {0} == {len(found.labels_)}
    assert found.reconstructions_.shape[1:] == found.pool_.shape[1:]
    assert len(found.pool_) >= 2 * 40
    assert str(found.verdict_).startswith("Nothing found: ")


def weighed(*, left=0.05, chance=0.4, lost=0.0, rank=6, support=(3,) * 6, restarts=4, start=False, imbalance=0.0):
    """Judge a search whose figures are given, on weights of energy 1."""
    target = build_target(network().requires_grad_(False), subspace=4, input_shape=None)
    goal = {name: value / value.norm() / len(target.goal) ** 0.5 for name, value in target.goal.items()}
    floor = NoiseFloor(rank=rank, near=1, edge=0.1, size=60)
    target = replace(target, goal=goal, floor=floor, lost=lost, imbalance=imbalance)
    residual = torch.full((restarts,), left)
    return judge(target, residual, chance, torch.tensor(support), doubts=[], knows_start=start)


@pytest.mark.parametrize(
    ("figures", "outcome", "reason"),
    [
        ({}, "found", ""),
        ({"left": 0.2, "chance": 0.41}, "found", ""),
        ({"left": 0.2, "chance": 0.39}, "nothing found", "objective"),
        ({"left": 0.2, "chance": 0.39, "imbalance": 0.5}, "nothing found", "out of balance by 0.50"),
        ({"left": 0.2, "chance": 0.39, "start": True}, "nothing found", "displacement"),
        ({"left": 0.05, "chance": 0.24}, "partly found", "random candidates explain nearly as much"),
        ({"left": 0.02, "chance": 0.24}, "found", ""),
        ({"lost": 0.3}, "found", ""),
        ({"lost": 0.4}, "partly found", "where no candidate can be"),
        ({"support": (2, 2, 2, 1, 1, 1)}, "found", ""),
        ({"support": (2, 2, 1, 1, 1, 1)}, "partly found", "agree on 2"),
        ({"support": (2,) * 6, "restarts": 5}, "partly found", "agree on 0"),
        ({"support": (1,) * 6, "restarts": 1}, "partly found", "single restart"),
        ({"rank": 55, "support": (3,) * 40}, "found", ""),
    ],
)
def test_the_outcome_follows_the_stated_rule(figures, outcome, reason):
    verdict = weighed(**figures)
    assert verdict.outcome == outcome
    assert reason in " ".join(verdict.failures)
    assert bool(verdict.failures) == (outcome != "found")
    assert any("init_state" in advice for advice in verdict.advice) == (outcome != "found" and "start" not in figures)


def test_the_shares_are_norms():
    verdict = weighed(left=0.3, chance=0.9, lost=0.25)
    assert verdict.unexplained == pytest.approx(((0.3**2 + 0.25) / 1.25) ** 0.5, rel=1e-6)


def test_a_spectrum_without_a_floor_asks_for_the_number_of_samples():
    assert any("subspace=" in advice for advice in weighed(rank=55, left=0.5).advice)


def test_the_share_left_counts_what_lies_outside_the_span(converged):
    found = KKTReconstructor(**SEARCH).fit(converged)
    weights = {name: value.detach().double() for name, value in converged.named_parameters()}
    outside = weights["0.weight"] - weights["0.weight"] @ found.basis_.double().T @ found.basis_.double()
    whole = sum(value.square().sum() for value in weights.values())
    # Merging units loses a ten-thousandth at most.
    inside = found.residual_.double().square() * (whole - outside.square().sum())
    expected = ((inside + outside.square().sum()) / whole).sqrt().mean().item()
    assert found.verdict_.unexplained == pytest.approx(expected, abs=0.005)


def test_a_single_restart_agrees_with_none(converged):
    found = KKTReconstructor(**SEARCH | {"n_restarts": 1}).fit(converged)
    assert found.verdict_.outcome == "partly found"
    assert "single restart" in str(found.verdict_)
    assert len(found.reconstructions_) > 0


def test_the_paragraph_names_every_figure():
    verdict = ReconstructionVerdict(
        outcome="partly found",
        unexplained=0.21,
        unexplained_in_span=0.04,
        unexplained_by_chance=0.12,
        rank=14,
        near_floor=5,
        n_agreed=20,
        imbalance=0.3,
        left_out=("a", "b"),
        failures=("one", "two"),
        advice=("Do this.",),
    )
    text = str(verdict)
    for part in ("21%", "4.0%", "12%", "At least 14", "5 of them", "20 recons", "one; two", "a, b", "Do this."):
        assert part in text
    nothing = str(replace(verdict, outcome="nothing found", rank=0))
    assert "above its noise floor: 0" in nothing
    assert "At least" not in nothing
