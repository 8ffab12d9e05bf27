from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.core import seeded
from assay.lab.grid import Grid
from assay.privacy import CanaryAttack
from assay.privacy.membership import canary_objective
from assay.studies.privacy.canary_membership import cells, pools, study

SMOKE = study.STUDY.scales["smoke"]


@pytest.fixture(scope="module")
def run(smoke_run):
    return smoke_run("canary-membership")


@pytest.fixture(scope="module")
def pool():
    return pools.train_pool(replace(SMOKE, pool=40, shadows=6, targets=3), SMOKE.perceptron.recipe, 0)


def test_every_claim_is_measured_and_shown(run):
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {"C1", "C2", "C3", "C4"}
    assert {figure["name"] for figure in run.figures} == {"roc-convolution", "roc-perceptron"}


def test_every_attack_scores_every_target(run):
    cell = cells.attack(SMOKE, "perceptron", 3)
    for name in cells.SCORES:
        assert cell[name].shape == cell["members"].shape == (SMOKE.targets, SMOKE.pool)
    assert cell["farthest"] <= 1 + 1e-5
    again = cells.attack(SMOKE, "perceptron", 3)
    assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(again[name])) for name, value in cell.items())


def test_shadows_judges_and_targets_are_drawn_apart(pool):
    ensembles = (pool.shadows, pool.judges, pool.targets)
    assert [len(ensemble.models) for ensemble in ensembles] == [6, 2, 3]
    assert not torch.equal(pool.shadows.membership[:2], pool.judges.membership)
    first = [dict(ensemble.models[0].named_parameters())["1.weight"] for ensemble in ensembles]
    assert not any(torch.equal(a, b) for a, b in ((first[0], first[1]), (first[0], first[2]), (first[1], first[2])))
    assert pool.targets_accuracy(members=True) > pool.targets_accuracy(members=False)


def test_queries_are_judged_by_models_that_made_none(pool):
    attack = CanaryAttack(pool.shadows, n_queries=2, eps=0.1, n_iter=0, target_logits=(10.0, 0.0))
    queries = torch.stack([pool.x, (pool.x + 0.05).clamp(0, 1)], 1)
    shown = pools.judge(pool, attack, queries, seeded(0))
    pairs = list(zip(pool.judges.models, pool.judges.membership, strict=True))

    def objective(candidates):
        return np.mean(
            [canary_objective(m, candidates, pool.y, s, target_logits=(10.0, 0.0)).mean().item() for m, s in pairs]
        )

    assert shown["to-sample"].item() == pytest.approx(objective(queries) / objective(pool.x[:, None]), rel=1e-5)
    assert shown["apart"].item() == pytest.approx(0.5, rel=1e-5)
    assert shown["farthest"].item() == pytest.approx(0.5, rel=1e-5)


def test_gains_are_taken_seed_by_seed():
    values = ({"canary: AUC": 0.7, "single: AUC": 0.6}, {"canary: AUC": 0.5, "single: AUC": 0.8})
    gain = study.gain(Grid({"seed": (3, 4)}, values), "canary", "single")
    assert gain.tolist() == pytest.approx([0.1, -0.3])


def test_the_paper_scale_builds_its_networks():
    paper = study.STUDY.scales["paper"]
    for kind in cells.KINDS:
        recipe = replace(getattr(paper, kind).recipe, hidden=8)
        assert recipe.build((3, 32, 32), 10, seeded(0))(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
