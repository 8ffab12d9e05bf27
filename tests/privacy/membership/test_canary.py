from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.core import seeded
from assay.nets import mlp
from assay.privacy import CanaryAttack, DirectAttack, LiRA, ShadowEnsemble
from assay.privacy.membership import QueryTask, label_logits


@pytest.mark.parametrize("scorer", [LiRA(), LiRA(False), LiRA(variance="per_sample")])
def test_a_canary_that_is_not_optimised_is_lira_bit_by_bit(shadows, networks, images, scorer):
    canary = CanaryAttack(shadows, scorer, n_queries=1, n_iter=0)
    expected = DirectAttack(shadows, scorer).score(networks[4:], *images)
    assert torch.equal(canary.score(networks[4:], *images), expected)


@pytest.mark.parametrize("lr", [None, 1.0])
def test_canaries_stay_in_the_ball_and_in_the_range(shadows, images, lr):
    x, y = images
    queries = CanaryAttack(shadows, n_queries=4, eps=0.3, n_iter=5, lr=lr).craft(x, y)
    assert queries.shape == (12, 4, 1, 6, 6)
    away = (queries - x[:, None]).abs()
    assert away.max() <= 0.3 + 1e-12
    assert away.amax((2, 3, 4)).min() > 0.01
    assert (queries.min() >= 0) & (queries.max() <= 1)
    assert len(queries.flatten(2)[0].unique(dim=0)) == 4


def linear(seed):
    return nn.Sequential(nn.Flatten(), *mlp((36, 3), generator=seeded(seed))).double()


@pytest.mark.parametrize("online", [True, False])
def test_the_first_step_is_that_of_adam_against_the_gradient(images, online):
    # Adam's first step is lr times the sign of the gradient: 2 (h - target logit) times the weights of the label.
    x, y = images
    x = 0.4 + 0.2 * x
    seen = torch.arange(12)[None] % 2 == 0
    model = linear(0)
    shadows = ShadowEnsemble((model,), seen, x)
    attack = CanaryAttack(
        shadows, LiRA(online), n_queries=1, eps=0.1, n_iter=1, lr=0.01, models_per_step=1, target_logits=(3.0, -2.0)
    )
    weight = model[1].weight.detach()[y].view_as(x)
    miss = label_logits(model(x), y).detach() - torch.where(seen[0], 3.0, -2.0)
    step = 0.01 * (miss.view(12, 1, 1, 1) * weight).sign()
    expected = x - step if online else torch.where(seen[0].view(12, 1, 1, 1), x, x - step)
    torch.testing.assert_close(attack.craft(x, y)[:, 0], expected, rtol=0, atol=1e-7)


def test_the_objective_reaches_what_a_linear_model_allows(images):
    # One model trained on x, target logit out of reach: the best query goes eps along the sign of the label's weights.
    x, y = images
    x, model = 0.4 + 0.2 * x, linear(1)
    shadows = ShadowEnsemble((model,), torch.ones(1, 12, dtype=torch.bool), x)
    attack = CanaryAttack(
        shadows, n_queries=3, eps=0.1, n_iter=60, lr=0.02, models_per_step=1, target_logits=(100.0, 0.0)
    )
    weight = model[1].weight.detach()[y].view_as(x)
    best = (x + 0.1 * weight.sign())[:, None].expand(12, 3, 1, 6, 6)
    torch.testing.assert_close(attack.craft(x, y), best, rtol=0, atol=1e-6)


def test_measured_target_logits_are_quantiles_of_the_shadows_logits(shadows, images):
    x, y = images
    scores = [
        (model(x)[torch.arange(12), y], seen) for model, seen in zip(shadows.models, shadows.membership, strict=True)
    ]
    inside, outside = (torch.cat([s[k == side] for s, k in scores]).detach() for side in (True, False))
    high, low = CanaryAttack(shadows, target_logits=None).target_logits_for(x, y)
    assert high == pytest.approx(inside.quantile(0.5).item(), abs=0.05)  # torch's median is the lower of two
    assert low == pytest.approx(outside.quantile(0.1).item())
    assert CanaryAttack(shadows).target_logits_for(x, y) == (10.0, 0.0)


class Recorder(nn.Module):
    """A linear model that notes which samples it is asked about, known by their first pixel."""

    def __init__(self, seed, note):
        super().__init__()
        self.inner, self.note = linear(seed), note

    def forward(self, x):
        self.note((20 * x[:, 0, 0, 0].detach()).round().long().tolist())
        return self.inner(x)


@pytest.mark.parametrize(("online", "k"), [(True, 2), (True, 5), (True, 8), (False, 3), (True, 1)])
def test_every_sample_has_models_of_its_own_in_both_roles(images, online, k):
    x, y = images[0].clone(), images[1]
    x[:, 0, 0, 0] = 0.05 * torch.arange(12)  # samples apart by far more than eps
    asked = [[] for _ in range(10)]
    models = tuple(Recorder(seed, asked[seed].extend) for seed in range(10))
    seen = torch.rand(10, 12, generator=seeded(0)).argsort(0) < 3  # each in three of ten
    options = {"eps": 1e-5, "n_queries": 1, "n_iter": 100, "models_per_step": k}
    attack = CanaryAttack(ShadowEnsemble(models, seen, x), LiRA(online), **options)
    counts = torch.zeros(10, 12)
    for sign, own in ((-1, replace(attack, n_iter=0)), (1, attack)):  # without the looks before the first iteration
        for notes in asked:
            notes.clear()
        own.propose(QueryTask(x, y, 256, seeded(3), progress=False))
        counts += sign * torch.stack(
            [torch.bincount(torch.tensor(notes, dtype=torch.long), minlength=12) for notes in asked]
        )
    inside, outside = (counts * seen).sum(0), (counts * ~seen).sum(0)
    if k == 1:
        assert torch.equal(inside + outside, torch.full((12,), 100.0))
        return
    n_in = min(3, k // 2) if online else 0
    assert torch.equal(inside, torch.full((12,), 100.0 * n_in))
    assert torch.equal(outside, torch.full((12,), 100.0 * (k - (k // 2 if online else 0))))
    drawn = counts[~seen].view(-1)
    assert drawn.min() > 0  # every allowed model is drawn at some time


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_no_canary(shadows, images, batch_size):
    attack = CanaryAttack(shadows, n_queries=3, n_iter=4, eps=0.1)
    expected = attack.craft(*images, generator=seeded(2))
    found = attack.craft(*images, batch_size=batch_size, generator=seeded(2))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
