"""The room's attacks beside those of another library."""

import math

import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import APGD, FGSM, PGD, Lp, robust_accuracy
from assay.adversarial.attacks import standard_attacks
from assay.core import seeded
from helpers.adversarial_networks import random_mlp

foolbox = pytest.importorskip("foolbox")

PEERS = {
    2: (foolbox.attacks.L2FastGradientAttack, foolbox.attacks.L2ProjectedGradientDescentAttack),
    math.inf: (foolbox.attacks.LinfFastGradientAttack, foolbox.attacks.LinfProjectedGradientDescentAttack),
}
NORMS = (2, math.inf)


def problem(norm: float, n: int = 100) -> tuple[nn.Module, Tensor, Tensor, Lp]:
    source = seeded(0)
    model = nn.Sequential(nn.Flatten(), random_mlp([12, 40, 40, 6], source)).float().eval()
    x = torch.rand(n, 1, 3, 4, generator=source)
    return model, x, model(x).argmax(1), Lp(norm=norm, eps=0.2 if norm == 2 else 0.06, input_range=(0.0, 1.0))


def theirs(attack: object, model: nn.Module, x: Tensor, y: Tensor, threat: Lp) -> Tensor:
    wrapped = foolbox.PyTorchModel(model, bounds=threat.input_range, device="cpu")
    return attack(wrapped, x, foolbox.criteria.Misclassification(y), epsilons=threat.eps)[1]


@pytest.mark.parametrize("norm", NORMS)
def test_the_fast_method_ends_at_the_same_points(norm):
    model, x, y, threat = problem(norm)
    expected = theirs(PEERS[norm][0](), model, x, y, threat)
    torch.testing.assert_close(FGSM(threat)(model, x, y), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_projected_gradient_descent_ends_at_the_same_points(norm):
    model, x, y, threat = problem(norm)
    peer = PEERS[norm][1](abs_stepsize=threat.eps / 4, steps=15, random_start=False)
    ours = PGD(threat, n_iter=15, step_size=threat.eps / 4)(model, x, y)
    close = (ours - theirs(peer, model, x, y, threat)).flatten(1).abs().amax(1) < 1e-4
    # Near the kink of a ReLU the last bit of float32 decides the way, for one sample in twenty at most.
    assert close.float().mean() >= 0.95


@pytest.mark.parametrize("norm", NORMS)
def test_the_stronger_attacks_leave_no_more_than_its_search(norm):
    model, x, y, threat = problem(norm, 400)
    peer = PEERS[norm][1](abs_stepsize=threat.eps / 10, steps=40, random_start=False)
    standing = (model(theirs(peer, model, x, y, threat)).argmax(1) == y).float().mean().item()
    from_input = APGD(threat, n_iter=40, random_state=None)  # as the peer starts
    ours = (model(from_input(model, x, y)).argmax(1) == y).float().mean().item()
    attacks = standard_attacks(threat, 6, n_iter=40, n_queries=40)
    together = robust_accuracy(model, x, y, threat=threat, attacks=attacks).robust_accuracy.mean
    assert 0.1 < standing < 0.9
    assert ours <= standing + 0.005
    assert together <= min(ours, standing)
