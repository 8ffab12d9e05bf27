"""Labels, samples, networks and autograd states as users have them."""

from functools import partial

import pytest
import torch
from torch import nn

from assay.core import (
    InvalidInputError,
    LogProbabilities,
    SequentialTrainer,
    cross_entropy,
    fit,
    predict,
    seeded,
)
from assay.nets import mlp
from assay.privacy import CanaryAttack, DirectAttack, LiRA, ShadowEnsemble, membership_metrics
from assay.privacy.membership import label_logits, logit_confidence

ADAM = partial(torch.optim.Adam, lr=0.05)


class Words(nn.Module):
    """Two classes of texts of three tokens."""

    def __init__(self, seed):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.randn(5, 4, generator=seeded(seed)), freeze=False)
        self.head = mlp((4, 2), generator=seeded(seed))

    def forward(self, x):
        return self.head(self.table(x).mean(1))


def attacks(shadows):
    return DirectAttack(shadows), CanaryAttack(shadows, n_queries=2, eps=0.1, n_iter=2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_and_members_of_any_type_and_in_columns_are_the_same(shadows, networks, images, dtype):
    x, y = images
    members = torch.arange(12)[None] % 2 == 0
    for attack in attacks(shadows):
        expected = attack.measure(networks[4:5], members, x, y)
        found = attack.measure(networks[4:5], members.to(dtype), x, y.to(dtype)[:, None])
        assert found.auc == expected.auc
    seen = ShadowEnsemble(shadows.models, shadows.membership.to(dtype), x)
    assert torch.equal(DirectAttack(seen).score(networks[4:], x, y), DirectAttack(shadows).score(networks[4:], x, y))
    scores = torch.rand(12, generator=seeded(0))
    assert membership_metrics(scores, members[0].to(dtype)).auc == membership_metrics(scores, members[0]).auc


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
def test_the_callers_autograd_state_does_not_matter(shadows, networks, images, state):
    x, y = images
    expected = [attack.score(networks[4:], x, y) for attack in attacks(shadows)]
    with state():
        inside, labels = x.clone(), y.clone()
        made = ShadowEnsemble(shadows.models, shadows.membership.clone(), inside)
        found = [attack.score(networks[4:], inside, labels) for attack in attacks(made)]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    for attack, other in zip(attacks(shadows), expected, strict=True):
        assert torch.equal(attack.score(networks[4:], x.clone().requires_grad_(), y), other)


def test_shadow_models_are_trained_inside_inference_mode():
    def trained():
        x, y = torch.rand(10, 4, generator=seeded(0)), torch.arange(10) % 2
        train = lambda model, x, y, _: fit(model, x, y, loss=cross_entropy, optimizer=ADAM, n_iter=3)  # noqa: E731
        build = lambda source: mlp((4, 2), generator=source)  # noqa: E731
        return ShadowEnsemble.fit(x, y, model_fn=build, trainer=SequentialTrainer(train), n_models=4)

    expected = trained()
    with torch.inference_mode():
        found = trained()
    for one, other in zip(found.models, expected.models, strict=True):
        assert torch.equal(one[0].weight, other[0].weight)
        assert not one[0].weight.is_inference()


def test_texts_are_attacked_by_their_tokens():
    x, y = torch.randint(5, (8, 3), generator=seeded(0)), torch.arange(8) % 2
    seen = torch.arange(8) % 2 == torch.tensor([[0], [1]])
    shadows = ShadowEnsemble((Words(1), Words(2)), seen, x)
    expected = [logit_confidence(predict(Words(k), x), y)[..., None] for k in (1, 2, 3)]
    by_hand = LiRA().score(expected[2], torch.stack(expected[:2]), shadows.membership_of(x))
    assert torch.equal(DirectAttack(shadows).score([Words(3)], x, y)[0], by_hand)
    with pytest.raises(InvalidInputError, match="integers have no gradient"):
        CanaryAttack(shadows).craft(x, y)


def test_probabilities_have_the_log_odds_of_their_logits(shadows, networks, images):
    x, y = images
    softened = tuple(nn.Sequential(model, nn.Softmax(1)) for model in networks)
    after = ShadowEnsemble(softened[:4], shadows.membership, x)
    expected = DirectAttack(shadows).score(networks[4:], x, y)
    torch.testing.assert_close(DirectAttack(after).score(softened[4:], x, y), expected)
    with pytest.raises(InvalidInputError, match="take the softmax off"):
        CanaryAttack(after, n_iter=1).craft(x, y)
    wrapped = tuple(nn.Sequential(model, LogProbabilities()) for model in softened)
    CanaryAttack(ShadowEnsemble(wrapped[:4], shadows.membership, x), n_iter=1).craft(x, y)


def test_probabilities_that_round_to_one_are_refused():
    logits, y = torch.tensor([[30.0, 0.0, -5.0], [10.0, 0.0, 0.0]]), torch.tensor([0, 0])
    torch.testing.assert_close(logit_confidence(logits.softmax(1), y), logit_confidence(logits, y))
    with pytest.raises(InvalidInputError, match="log odds are lost"):
        logit_confidence((10 * logits).softmax(1), y)
    with pytest.raises(InvalidInputError, match="they are probabilities"):
        label_logits(logits.softmax(1), y)


def test_a_sigmoid_is_refused_and_small_logits_are_not():
    logits, y = torch.tensor([3.0, -2.0, 1.0, -4.0]), torch.tensor([1, 0, 1, 0])
    for call in (logit_confidence, label_logits):
        with pytest.raises(InvalidInputError, match="take the sigmoid off"):
            call(logits.sigmoid(), y)
        # All positive, and of no use at 0.5 either: the logits of a network that has not learnt.
        assert call(torch.tensor([0.3, 0.2, 0.4, 0.1]), y).tolist() == pytest.approx([0.3, -0.2, 0.4, -0.1])


def test_half_precision_is_scored_in_float32(networks, images):
    x, y = images[0].bfloat16(), images[1]
    half = [model.bfloat16() for model in networks]
    seen = torch.arange(12) % 2 == torch.tensor([[0], [0], [1], [1]])
    scores = DirectAttack(ShadowEnsemble(tuple(half[:4]), seen, x)).score(half[4:], x, y)
    expected = [logit_confidence(predict(model, x).float(), y)[..., None] for model in half]
    by_hand = LiRA().score(torch.stack(expected[4:]), torch.stack(expected[:4]), seen)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, by_hand)


def test_few_nonmembers_are_named():
    scores, members = torch.arange(10.0), torch.arange(10) >= 5
    report = membership_metrics(scores, members, fpr=(0.01, 0.3))
    assert report.notes == ("With 5 non-members, a false positive rate of 0.01 means no false positive.",)
    assert report.notes[0] in str(report)
    assert membership_metrics(scores, members, fpr=(0.3,)).notes == ()


def test_members_among_the_nonmembers_are_named(shadows, networks, images):
    def copies(places, members):
        report = DirectAttack(shadows).measure(networks[4:5], members[None], images[0][places], images[1][places])
        return [note for note in report.notes if "copies" in note]

    (note,) = copies([*range(12), 0, 1, 2, 3], torch.arange(16) < 12)
    assert note.startswith("4 of the 4 non-members are copies")
    assert copies([*range(12)], torch.arange(12) < 6) == []


def test_models_that_have_not_learnt_are_named(images):
    x, y = images
    seen = torch.arange(12) % 2 == torch.tensor([0, 1, 0, 1, 0, 1])[:, None]
    models = [nn.Sequential(nn.Flatten(), *mlp((36, 3), generator=seeded(k))).double() for k in range(6)]
    members = seen[4:]

    def unlearnt():
        notes = DirectAttack(ShadowEnsemble(tuple(models[:4]), seen[:4], x)).measure(models[4:], members, x, y).notes
        return [note.split(" are right")[0] for note in notes if "have not learnt" in note]

    for model in models:  # one class whatever the sample
        model[1].weight.data.zero_()
    assert unlearnt() == ["The shadow models", "The target models"]
    for model, own in zip(models, seen, strict=True):
        fit(model, x[own], y[own], loss=cross_entropy, optimizer=ADAM, n_iter=300)
    assert unlearnt() == []
