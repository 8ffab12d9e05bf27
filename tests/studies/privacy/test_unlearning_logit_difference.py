from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import nn

from assay.core import seeded
from assay.privacy.unlearning import (
    QAExamples,
    token_logits,
)
from assay.studies.privacy.unlearning_logit_difference import facts, study
from assay.studies.privacy.unlearning_logit_difference import outcomes as forgetting

SMOKE = study.STUDY.scales["smoke"]
SIZE = facts.WorldSize(subjects=10, relations=2, objects=6, forget=3, retain=2)


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
    known = facts.knowledge(table, part)
    assert known["accuracy"] == pytest.approx((right == p.amax(1)).double().mean().item())
    assert known["probability"] == pytest.approx(right.mean().item())
    assert known["loss"] == pytest.approx(-right.log().mean().item())


def test_wrong_answers_are_never_the_right_one(world, table):
    ratios = forgetting.truth_ratios(table, world.unseen)
    sure = torch.full_like(table.log_p, -9.0)
    rows = world.unseen.input_ids[:, 0] * 2 + world.unseen.input_ids[:, 1] - 10
    sure[rows, world.unseen.input_ids[:, 2]] = 0.0
    assert forgetting.truth_ratios(Table(sure.exp()), world.unseen).log().tolist() == pytest.approx([9.0] * 10)
    assert torch.equal(ratios, forgetting.truth_ratios(table, world.unseen))


def test_a_certain_model_has_finite_ratios_in_single_precision(world):
    certain = Table(torch.ones(20, SIZE.vocabulary))
    rows = world.unseen.input_ids[:, 0] * 2 + world.unseen.input_ids[:, 1] - 10
    with torch.no_grad():
        certain.log_p[rows, world.unseen.input_ids[:, 2]] = 200.0
    assert forgetting.truth_ratios(certain, world.unseen).log().tolist() == pytest.approx([200.0] * 10)


def test_forget_quality_and_spread_are_of_the_truth_ratios_on_forget_facts(world, table):
    p = torch.rand(20, SIZE.vocabulary, generator=seeded(2), dtype=torch.float64)
    other = Table(p / p.sum(1, keepdim=True))
    ratios, others = (forgetting.truth_ratios(model, world.forget).numpy() for model in (table, other))
    quality = forgetting.outcome(table, other, world)["forget quality"]
    assert quality == pytest.approx(ks_2samp(ratios, others).pvalue)
    assert quality < 1
    assert forgetting.outcome(table, table, world)["forget quality"] == 1
    low, high = np.quantile(np.log(ratios), [0.25, 0.75])
    assert forgetting.spread(table, world.forget) == pytest.approx(high - low)


@pytest.mark.parametrize("name", forgetting.BASELINES)
def test_baselines_start_as_their_formulas_say(world, table, name):
    objective = forgetting.baseline(name, table)
    nll = -token_logits(table, world.forget)[:, 1].gather(1, world.forget.input_ids[:, 2:]).mean()
    retained = -token_logits(table, world.retain)[:, 1].gather(1, world.retain.input_ids[:, 2:]).mean()
    forget_loss = -nll if name.startswith("GA") else 20 * torch.tensor(2.0).log().double()
    retain_loss = retained if name.endswith("GD") else 0.0  # of KL, the model still is the reference
    torch.testing.assert_close(objective(table, world.forget, world.retain), forget_loss + retain_loss)


def test_the_best_checkpoint_forgot_enough():
    looks = [
        {"forget": 0.5, "unseen": 0.9, "utility": 0.9},
        {"forget": 0.1, "unseen": 0.4, "utility": 0.5},
        {"forget": 0.0, "unseen": 0.3, "utility": 0.6},
    ]
    cell = {"baselines": {"GA": [looks[:2], looks[2:]], "NPO": [looks[:1]]}}
    assert forgetting.best(cell, ("GA",), "unseen") == 0.4
    assert forgetting.best(cell, ("GA", "NPO"), "utility") == 0.6
    assert forgetting.best(cell, ("NPO",), "unseen") == 0.0


def test_a_trained_model_knows_its_part_only(world):
    size = facts.ModelSize(width=16, layers=1, heads=2, steps=150, learning_rate=1e-2)
    model = facts.learn(size, SIZE.vocabulary, [world.unseen], 0)
    assert facts.knowledge(model, world.unseen)["accuracy"] == 1
    assert facts.knowledge(model, world.forget)["probability"] < 0.6
    changed = world.unseen.input_ids.clone()
    changed[:, 2] = 0  # what follows a place has no part in what is said there
    torch.testing.assert_close(
        token_logits(model, QAExamples.from_tokens(changed, prompt_length=2))[:, :2],
        token_logits(model, world.unseen)[:, :2],
    )


def test_the_paper_scale_builds_its_assistant():
    paper = replace(study.STUDY.scales["paper"], width=16, rank=2, assistant_steps=1)
    target = facts.FactModel(SIZE.vocabulary, width=paper.width, layers=paper.layers, heads=paper.heads)
    world = facts.draw_world(SIZE, 0)
    assert len(study.train_assistant(paper, target, world, 0, 1.0).blocks) == 8
