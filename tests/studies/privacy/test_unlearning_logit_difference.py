from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import nn

from assay.core import seeded
from assay.lab import Grid
from assay.privacy.unlearning import QAExamples, token_logits
from assay.studies.privacy.unlearning_logit_difference import cells, checkpoints, facts, outcomes, study
from assay.studies.privacy.unlearning_logit_difference.settings import ModelSize, WorldSize

SIZE = WorldSize(subjects=10, relations=2, objects=6, forget=3, retain=2)


@pytest.fixture(scope="module")
def world():
    return facts.draw_world(SIZE, 0)


class Table(nn.Module):
    """Says of each subject and relation what it is told."""

    def __init__(self, probabilities):
        super().__init__()
        self.log_p = nn.Parameter(probabilities.log())

    def forward(self, input_ids):
        rows = input_ids[:, 0] * 2 + input_ids[:, 1].clamp(min=10) - 10
        return self.log_p[rows][:, None].expand(-1, input_ids.shape[1], -1)


@pytest.fixture
def table():
    p = torch.rand(20, SIZE.vocabulary, generator=seeded(1), dtype=torch.float64)
    return Table(p / p.sum(1, keepdim=True))


def test_every_claim_is_measured(smoke_run):
    run = smoke_run("unlearning-logit-difference")
    assert {evidence.claim for evidence in run.evidence if evidence.values} == {f"C{k}" for k in range(1, 6)}
    assert {figure["name"] for figure in run.figures} == {"kept-and-forgotten", "alpha"}


def test_a_world_is_drawn_whole_and_its_parts_share_no_subject(world):
    parts = world.parts()
    assert {name: len(part) for name, part in parts.items()} == {"forget": 6, "retain": 4, "unseen": 10}
    ids = torch.cat([part.input_ids for part in parts.values()])
    assert len(ids[:, :2].unique(dim=0)) == 20
    for column, (low, high) in enumerate(((0, 10), (10, 12), (12, 18))):
        assert low <= int(ids[:, column].min()) <= int(ids[:, column].max()) < high
    assert sum(len(part.input_ids[:, 0].unique()) for part in parts.values()) == 10


def test_knowledge_is_counted_by_hand(world, table):
    part = world.unseen
    rows = part.input_ids[:, 0] * 2 + part.input_ids[:, 1] - 10
    p = table.log_p.exp()[rows]
    right = p.gather(1, part.input_ids[:, 2:]).squeeze(1)
    known = outcomes.knowledge(table, part)
    assert known["accuracy"] == pytest.approx((right == p.amax(1)).double().mean().item())
    assert known["probability"] == pytest.approx(right.mean().item())
    assert known["loss"] == pytest.approx(-right.log().mean().item())


def test_wrong_answers_are_never_the_right_one(world, table):
    ratios = outcomes.truth_ratios(table, world.unseen)
    sure = torch.full_like(table.log_p, -9.0)
    rows = world.unseen.input_ids[:, 0] * 2 + world.unseen.input_ids[:, 1] - 10
    sure[rows, world.unseen.input_ids[:, 2]] = 0.0
    assert outcomes.truth_ratios(Table(sure.exp()), world.unseen).log().tolist() == pytest.approx([9.0] * 10)
    assert torch.equal(ratios, outcomes.truth_ratios(table, world.unseen))


def test_a_certain_model_has_finite_ratios_in_single_precision(world):
    certain = Table(torch.ones(20, SIZE.vocabulary))
    rows = world.unseen.input_ids[:, 0] * 2 + world.unseen.input_ids[:, 1] - 10
    with torch.no_grad():
        certain.log_p[rows, world.unseen.input_ids[:, 2]] = 200.0
    assert outcomes.truth_ratios(certain, world.unseen).log().tolist() == pytest.approx([200.0] * 10)


def test_forget_quality_and_spread_are_of_the_truth_ratios_on_forget_facts(world, table):
    p = torch.rand(20, SIZE.vocabulary, generator=seeded(2), dtype=torch.float64)
    other = Table(p / p.sum(1, keepdim=True))
    ratios, others = (outcomes.truth_ratios(model, world.forget).numpy() for model in (table, other))
    quality = outcomes.outcome(table, other, world)["forget quality"]
    assert quality == pytest.approx(ks_2samp(ratios, others).pvalue)
    assert quality < 1
    assert outcomes.outcome(table, table, world)["forget quality"] == 1
    low, high = np.quantile(np.log(ratios), [0.25, 0.75])
    assert outcomes.spread(table, world.forget) == pytest.approx(high - low)


@pytest.mark.parametrize("name", cells.BASELINES)
def test_baselines_start_as_their_formulas_say(world, table, name):
    objective = cells.baseline(name, table)
    nll = -token_logits(table, world.forget)[:, 1].gather(1, world.forget.input_ids[:, 2:]).mean()
    retained = -token_logits(table, world.retain)[:, 1].gather(1, world.retain.input_ids[:, 2:]).mean()
    forget_loss = -nll if name.startswith("GA") else 20 * torch.tensor(2.0).log().double()
    retain_loss = retained if name.endswith("GD") else 0.0  # of KL, the model still is the reference
    torch.testing.assert_close(objective(table, world.forget, world.retain), forget_loss + retain_loss)


def test_the_best_checkpoint_forgot_enough():
    looks = {"forget": [0.5, 0.1, 0.0], "unseen": [0.9, 0.4, 0.3], "utility": [0.9, 0.5, 0.6]}
    never = {"forget": [0.5, 0.3, 0.4], "unseen": [0.9, 0.8, 0.7], "utility": [0.9, 0.8, 0.7]}
    outcomes = {name: looks if name == "GA" else never for name in (*cells.BASELINES, "target", "retrained")}
    cell = {f"{name}: {key}": values for name, found in outcomes.items() for key, values in found.items()}
    worlds = Grid({"seed": (0, 1)}, (cell, cell))
    assert checkpoints.best(worlds, ("GA",), "unseen").tolist() == [0.4, 0.4]
    assert checkpoints.best(worlds, ("GA", "NPO"), "utility").tolist() == [0.6, 0.6]
    assert checkpoints.best(worlds, ("NPO",), "unseen").tolist() == [0.0, 0.0]
    assert checkpoints.best_checkpoint(worlds, "GA").tolist() == [1, 1]
    assert checkpoints.best_checkpoint(worlds, "NPO").tolist() == [1, 1]


def test_a_trained_model_knows_its_part_only(world):
    size = ModelSize(width=16, layers=1, heads=2, steps=150, lr=1e-2)
    model = facts.learn(size, SIZE.vocabulary, [world.unseen], 0)
    assert outcomes.knowledge(model, world.unseen)["accuracy"] == 1
    assert outcomes.knowledge(model, world.forget)["probability"] < 0.6
    changed = world.unseen.input_ids.clone()
    changed[:, 2] = 0  # what follows a place has no part in what is said there
    torch.testing.assert_close(
        token_logits(model, QAExamples.from_tokens(changed, prompt_length=2))[:, :2],
        token_logits(model, world.unseen)[:, :2],
    )


def test_the_paper_scale_builds_its_assistant():
    paper = study.STUDY.scales["paper"]
    paper = replace(paper, model=replace(paper.model, width=16), rank=2, assistant_steps=1)
    target = facts.FactModel(SIZE.vocabulary, paper.model)
    world = facts.draw_world(SIZE, 0)
    assert len(cells.train_assistant(paper, target, world, 0, 1.0).blocks) == 8
