import math

import pytest
import torch

from assay.adversarial import FGSM, PGD, Lp, TargetedStep, run_attack, transfer_attack
from assay.core import InvalidInputError, predict, seeded
from helpers.adversarial_networks import linear, points, random_mlp

THREAT = Lp(norm=math.inf, eps=0.3, input_range=(-9.0, 9.0))


def test_the_victim_is_measured_on_what_breaks_the_surrogate():
    source = seeded(0)
    surrogate, victim, x = random_mlp([6, 12, 3], source), random_mlp([6, 9, 3], source), points(60, 6, source)
    y = predict(surrogate, x).argmax(1)
    result = transfer_attack(surrogate, victim, x, y, attack=PGD(THREAT, n_iter=10), batch_size=17)
    direct = run_attack(surrogate, x, y, attack=PGD(THREAT, n_iter=10))
    assert torch.equal(result.x_adv, direct.x_adv)
    assert torch.equal(result.fooled_surrogate, direct.success)
    assert torch.equal(result.fooled_victim, predict(victim, direct.x_adv).argmax(1) != y)
    assert torch.equal(result.correct, predict(victim, x).argmax(1) == y)
    assert 0 < result.fooled_victim.sum() < 60
    assert f"{result.robust_accuracy.mean:.1%}" in str(result)


def test_orthogonal_networks_do_not_share_adversarial_examples():
    """Two linear networks that read different features: what moves one leaves the other as it was."""
    first = linear(torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64))
    second = linear(torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64))
    x, y = torch.full((5, 2), 0.1, dtype=torch.float64), torch.zeros(5, dtype=torch.long)
    result = transfer_attack(first, second, x, y, attack=FGSM(THREAT))
    assert result.fooled_surrogate.all()
    assert not result.fooled_victim.any()
    assert transfer_attack(second, second, x, y, attack=FGSM(THREAT)).fooled_victim.all()


def test_networks_that_do_not_fit_and_targeted_attacks_are_refused():
    source = seeded(1)
    x, y = points(4, 6, source), torch.tensor([0, 1, 2, 0])
    surrogate = random_mlp([6, 5, 3], source)
    with pytest.raises(InvalidInputError, match="labels"):
        transfer_attack(surrogate, random_mlp([6, 5, 2], source), x, y, attack=FGSM(THREAT))
    with pytest.raises(InvalidInputError, match="MALT"):
        transfer_attack(surrogate, surrogate, x, y, attack=TargetedStep(THREAT))
