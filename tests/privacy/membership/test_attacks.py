import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, predict, seeded
from assay.nets import mlp
from assay.privacy import CanaryAttack, DirectAttack, LiRA, ShadowEnsemble, membership_metrics
from assay.privacy.membership import QueryTask, canary_objective, label_logits, logit_confidence


def confidences(models, x, y):
    return torch.stack([logit_confidence(predict(model, x), y) for model in models])


def test_direct_attack_is_the_likelihood_ratio_test_of_the_samples(shadows, networks, images):
    x, y = images
    targets = networks[4:]
    expected = LiRA().score(
        confidences(targets, x, y)[..., None], confidences(shadows.models, x, y)[..., None], shadows.membership
    )
    torch.testing.assert_close(DirectAttack(shadows).score(targets, x, y), expected, rtol=0, atol=0)


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


def test_objective_is_the_square_distance_of_the_labels_score(networks, images):
    x, y = images
    queries, seen = torch.stack([x, 1 - x], 1), torch.arange(12) < 5
    got = canary_objective(networks[0], queries, y, seen, target_logits=(2.0, -1.0))
    for i in range(12):
        for q in range(2):
            score = networks[0](queries[i, q : q + 1])[0, y[i]]
            torch.testing.assert_close(got[i, q], (score - (2.0 if seen[i] else -1.0)) ** 2)


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


def test_shifted_copies_are_moved_with_zeros_behind_them(shadows, images):
    x, y = images
    queries = DirectAttack(shadows, n_queries=8, max_shift=2).craft(x, y)
    assert torch.equal(queries[:, 0], x)
    moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]

    def moved(down, right):
        image = torch.zeros_like(x)
        for i in range(6):
            for j in range(6):
                if 0 <= i - down < 6 and 0 <= j - right < 6:
                    image[..., i, j] = x[..., i - down, j - right]
        return image

    for q in range(1, 8):
        assert any(torch.equal(queries[:, q], moved(*move)) for move in moves)


def test_copies_are_mirrored_half_of_the_time_where_asked(shadows, images):
    x, y = images
    plain = DirectAttack(shadows, n_queries=200).craft(x, y, generator=seeded(1))
    mirrored = DirectAttack(shadows, n_queries=200, flip=True).craft(x, y, generator=seeded(1))
    assert torch.equal(mirrored[:, 0], x)
    turned = [torch.equal(mirrored[:, q], plain[:, q].flip(-1)) for q in range(1, 200)]
    kept = [torch.equal(mirrored[:, q], plain[:, q]) for q in range(1, 200)]
    assert sum(turned) + sum(kept) == 199
    assert 65 <= sum(turned) <= 135  # five standard deviations of a fair coin


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


OBJECTIVES = ("target_logits", "cross_entropy", "reversed_cross_entropy", "carlini_wagner")


@pytest.mark.parametrize("objective", OBJECTIVES[1:])
def test_alternative_objectives_are_what_their_formulas_say(networks, images, objective):
    x, y = images
    queries, seen = torch.stack([x, 1 - x], 1), torch.arange(12) < 5
    others = (y[:, None] + torch.tensor([1, 2])) % 3
    got = canary_objective(networks[0], queries, y, seen, objective=objective, others=others)
    for i in range(12):
        for q in range(2):
            logits = networks[0](queries[i, q : q + 1])[0].tolist()
            p = torch.tensor(logits).double().softmax(0).tolist()
            label, other = int(y[i]), int(others[i, q])
            toward = label if seen[i] else other
            expected = {
                "cross_entropy": -math.log(p[toward]),
                "reversed_cross_entropy": -math.log(p[label] if seen[i] else 1 - p[label]),
                "carlini_wagner": max(max(s for k, s in enumerate(logits) if k != toward) - logits[toward], -5.0),
            }
            assert got[i, q].item() == pytest.approx(expected[objective], rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES[1:])
def test_one_logit_has_the_objectives_of_two_classes(images, objective):
    x, y = images[0], torch.arange(12) % 2
    one = nn.Sequential(nn.Flatten(), *mlp((36, 1), generator=seeded(0))).double()
    two = nn.Sequential(one, SplitLogit())
    queries, seen = x[:, None], torch.arange(12) < 6
    expected = canary_objective(two, queries, y, seen, objective=objective, others=1 - y[:, None])
    for labels in (y, 2 * y - 1):
        torch.testing.assert_close(canary_objective(one, queries, labels, seen, objective=objective), expected)


class SplitLogit(nn.Module):
    def forward(self, x):
        return torch.cat([-x, x], 1) / 2


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_canaries_lower_their_objective(shadows, images, objective):
    x, y = images
    attack = CanaryAttack(shadows, n_queries=1, n_iter=15, eps=0.2, models_per_step=4, objective=objective)
    crafted = attack.craft(x, y, generator=seeded(4))

    # With one canary for each sample the first draws are those of its other class.
    others = (y[:, None] + torch.randint(1, 3, (12, 1), generator=seeded(4))) % 3

    def total(queries):
        options = {"objective": objective, "others": others}
        pairs = zip(shadows.models, shadows.membership, strict=True)
        return sum(canary_objective(m, queries, y, seen, **options).sum() for m, seen in pairs)

    assert total(crafted) < total(x[:, None])


@pytest.mark.parametrize(
    "wrap", [lambda model: model, copy.deepcopy, nn.DataParallel], ids=["itself", "copy", "wrapped"]
)
def test_a_target_among_the_shadows_is_refused(shadows, networks, images, wrap):
    for attack in (DirectAttack(shadows), DirectAttack(shadows, LiRA(online=False))):
        with pytest.raises(InvalidInputError, match="target 1 is shadow model 2"):
            attack.score([networks[4], wrap(shadows.models[2])], *images)


def test_an_offline_score_warns_where_no_sample_is_in_the_pool(shadows, networks, images):
    x, y = images
    offline = DirectAttack(shadows, LiRA(online=False))
    with pytest.warns(UserWarning, match="none of the 12 samples is in the shadow models' pool"):
        offline.score(networks[4:], x * (1 + 1e-6), y)
    offline.score(networks[4:], torch.cat([x[:1], x[1:] * (1 + 1e-6)]), y)  # warnings are errors here
    assert shadows.holds(torch.cat([x[:1], 2 * x[1:]])).tolist() == [True] + 11 * [False]


@pytest.mark.usefixtures("as_users_run_it")
def test_an_unknown_objective_is_refused(shadows):
    with pytest.raises(InvalidInputError, match="objective"):
        CanaryAttack(shadows, objective="kl")


@pytest.mark.usefixtures("as_users_run_it")
def test_a_single_target_must_be_in_a_list(shadows, networks, images):
    with pytest.raises(InvalidInputError, match=r"pass a single one as \[model\]"):
        DirectAttack(shadows).score(networks[4], *images)


def test_measure_is_the_report_of_the_scores_and_queries_can_be_kept(shadows, networks, images):
    x, y = images
    targets, members = networks[4:], torch.rand(3, 12, generator=seeded(2)) < 0.5
    attack = CanaryAttack(shadows, n_queries=2, n_iter=2, eps=0.1)
    queries = attack.craft(x, y, generator=seeded(5))
    scores = attack.score(targets, x, y, queries=queries)
    assert torch.equal(scores, attack.score(targets, x, y, generator=seeded(5)))
    assert not torch.equal(scores, attack.score(targets, x, y, generator=seeded(6)))
    report = attack.measure(targets, members, x, y, queries=queries)
    assert report.auc == membership_metrics(scores, members).auc


def test_a_binary_network_is_attacked_as_one_of_two_classes(images):
    # Scores -f/2 and f/2 have the confidence of one logit f, and label scores of half its size.
    x, y = images[0], torch.arange(12) % 2
    seen = torch.arange(12) % 2 == torch.tensor([[0], [1], [0], [1]])
    single = [nn.Sequential(nn.Flatten(), *mlp((36, 1), generator=seeded(k))).double() for k in range(5)]
    double = [nn.Sequential(nn.Flatten(), *mlp((36, 2), generator=seeded(k))).double() for k in range(5)]
    for one, two in zip(single, double, strict=True):
        for new, old in zip(two.parameters(), one.parameters(), strict=True):
            new.data = torch.cat([-old.data / 2, old.data / 2])

    def scores(models, target_logits):
        shadows = ShadowEnsemble(tuple(models[:4]), seen, x)
        attack = CanaryAttack(shadows, n_queries=2, eps=0.1, n_iter=1, target_logits=target_logits)
        return attack.score(models[4:], x, y)

    # The gradients differ by a factor, which Adam divides out but for its own 1e-8.
    torch.testing.assert_close(scores(single, (6.0, 0.0)), scores(double, (3.0, 0.0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, "eps"),
        ({"lr": -1.0}, "lr"),
        ({"n_queries": 0}, "n_queries must be a whole number of at least 1"),
        ({"n_iter": -1}, "n_iter must be a whole number of at least 0"),
        ({"models_per_step": 9}, "within 1..4"),
    ],
)
def test_bad_options(shadows, options, message):
    with pytest.raises(InvalidInputError, match=message):
        CanaryAttack(shadows, **options)


def test_bad_input(shadows, networks, images):
    x, y = images
    direct, canary = DirectAttack(shadows), CanaryAttack(shadows)
    with pytest.raises(InvalidInputError, match="labels from"):
        direct.craft(x, y + 5)
    with pytest.raises(InvalidInputError, match="does not accept"):
        direct.craft(x[..., :5], y)
    with pytest.raises(InvalidInputError, match="no target"):
        direct.score([], x, y)
    with pytest.raises(InvalidInputError, match="craft them for these samples"):
        direct.score(networks[4:], x, y, queries=x[:3, None])
    with pytest.raises(InvalidInputError, match="input_range"):
        canary.craft(x - 1, y)
    with pytest.raises(InvalidInputError, match="n_queries=1"):
        DirectAttack(ShadowEnsemble((mlp((3, 2)),), torch.ones(1, 4) > 0, torch.eye(4, 3)), n_queries=2).craft(
            torch.eye(4, 3), torch.zeros(4, dtype=torch.long)
        )
    with pytest.raises(InvalidInputError, match="pass others="):
        canary_objective(networks[0], x[:, None], y, y > 0, objective="cross_entropy")
    with pytest.raises(InvalidInputError, match="n_queries must be a whole number of at least 1"):
        DirectAttack(shadows, n_queries=0)
    with pytest.raises(InvalidInputError, match="max_shift must be a whole number of at least 1"):
        DirectAttack(shadows, max_shift=0)
