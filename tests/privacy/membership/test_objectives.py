import math

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.nets import mlp
from assay.privacy import CanaryAttack
from assay.privacy.membership import canary_objective


def test_objective_is_the_square_distance_of_the_labels_score(networks, images):
    x, y = images
    queries, seen = torch.stack([x, 1 - x], 1), torch.arange(12) < 5
    got = canary_objective(networks[0], queries, y, seen, target_logits=(2.0, -1.0))
    for i in range(12):
        for q in range(2):
            score = networks[0](queries[i, q : q + 1])[0, y[i]]
            torch.testing.assert_close(got[i, q], (score - (2.0 if seen[i] else -1.0)) ** 2)


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


@pytest.mark.usefixtures("as_users_run_it")
def test_an_unknown_objective_is_refused(shadows):
    with pytest.raises(InvalidInputError, match="objective"):
        CanaryAttack(shadows, objective="kl")
