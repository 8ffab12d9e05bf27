import copy

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, predict, seeded
from assay.nets import mlp
from assay.privacy import CanaryAttack, DirectAttack, LiRA, ShadowEnsemble, membership_metrics
from assay.privacy.membership import canary_objective, logit_confidence


def confidences(models, x, y):
    return torch.stack([logit_confidence(predict(model, x), y) for model in models])


def test_direct_attack_is_the_likelihood_ratio_test_of_the_samples(shadows, networks, images):
    x, y = images
    targets = networks[4:]
    expected = LiRA().score(
        confidences(targets, x, y)[..., None], confidences(shadows.models, x, y)[..., None], shadows.membership
    )
    torch.testing.assert_close(DirectAttack(shadows).score(targets, x, y), expected, rtol=0, atol=0)


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
