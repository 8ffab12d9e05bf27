import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, predict, seeded
from assay.nets import mlp
from assay.privacy import CanaryAttack, DirectAttack, LiRA, ShadowEnsemble, membership_metrics
from assay.privacy.membership import canary_objective, label_logits, logit_confidence


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
    with pytest.raises(InvalidInputError, match="n_queries must be a whole number of at least 1"):
        DirectAttack(shadows, n_queries=0)
    with pytest.raises(InvalidInputError, match="max_shift must be a whole number of at least 1"):
        DirectAttack(shadows, max_shift=0)
