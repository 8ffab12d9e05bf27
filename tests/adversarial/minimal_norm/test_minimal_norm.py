"""DeepFool and FMN on networks whose nearest boundary is known."""

import math

import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import FMN, DeepFool, Lp, run_attack
from assay.adversarial.attacks.threat import dual_norms
from assay.core import InvalidInputError, predict, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_linear, random_mlp

NORMS = (2, math.inf)


def linear_problem(norm: float, n_classes: int = 5) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear model, and the exact distance of each point to the nearest other class."""
    source = seeded(n_classes)
    model, x = random_linear(10, n_classes, source), points(40, 10, source)
    scores = predict(model, x)
    y, weight = scores.argmax(1), model.weight.detach()
    norms = dual_norms((weight[y][:, None] - weight).flatten(0, 1), norm).view(40, n_classes)
    gaps = (scores.gather(1, y[:, None]) - scores) / norms
    return model, x, y, gaps.scatter(1, y[:, None], math.inf).amin(1)


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_finds_the_exact_distance_on_a_linear_model(norm):
    model, x, y, distance = linear_problem(norm)
    threat = Lp(norm=norm, eps=100.0, input_range=UNBOUNDED)
    result = run_attack(model, x, y, attack=DeepFool(threat, n_iter=1))
    assert result.success.all()
    torch.testing.assert_close(result.distance, 1.02 * distance)


@pytest.mark.parametrize("norm", NORMS)
def test_fmn_comes_within_a_hundredth_of_the_exact_distance_to_one_boundary(norm):
    model, x, y, distance = linear_problem(norm, n_classes=2)  # of several it can find one that is not the nearest
    threat = Lp(norm=norm, eps=100.0, input_range=UNBOUNDED)
    result = run_attack(model, x, y, attack=FMN(threat, n_iter=300, step_size=1.0))
    assert result.success.all()
    assert (result.distance >= distance * (1 - 1e-9)).all()
    assert (result.distance <= 1.01 * distance).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_radius_bounds_both_searches_exactly(norm):
    model, x, y, distance = linear_problem(norm)
    eps = distance.median().item() * 1.001
    for attack in (DeepFool, FMN):
        within = run_attack(model, x, y, attack=attack(Lp(norm=norm, eps=eps, input_range=UNBOUNDED)))
        assert within.distance.max() <= eps * (1 + 1e-9)
        assert not within.success[distance > eps].any()
        assert within.success[1.03 * distance < eps].all()


@pytest.mark.parametrize("norm", NORMS)
def test_no_smaller_perturbation_than_that_of_fmn_is_found_by_a_dense_search(norm):
    """Brute force in the plane: the nearest misclassified point of a fine grid."""
    source = seeded(2)
    model, x = random_mlp([2, 20, 4], source), points(12, 2, source)
    y = predict(model, x).argmax(1)
    axis = torch.linspace(-1, 1, 101, dtype=torch.float64)
    offsets = torch.cartesian_prod(axis, axis)
    other = predict(model, (x[:, None] + offsets).flatten(0, 1), batch_size=10**7).argmax(1).view(12, -1) != y[:, None]
    nearest = torch.where(other, offsets.norm(p=norm, dim=1), math.inf).amin(1)
    found = run_attack(
        model, x, y, attack=FMN(Lp(norm=norm, eps=1.0, input_range=UNBOUNDED), n_iter=400, step_size=0.5)
    )
    seen = nearest < 0.9
    assert seen.sum() >= 6
    # A descent ends at a local minimum, and in this network of two features some have no way down to the boundary.
    assert found.success[seen].double().mean() >= 0.5
    seen = seen & found.success
    assert (found.distance[seen] <= nearest[seen] * 1.05).double().mean() >= 0.75
    assert (found.distance[seen] >= nearest[seen] - 0.03).all(), "the grid is 0.02 wide"


@pytest.mark.parametrize("norm", NORMS)
def test_fmn_is_no_worse_than_that_of_another_library(norm):
    foolbox = pytest.importorskip("foolbox")
    source = seeded(3)
    model = nn.Sequential(nn.Flatten(), random_mlp([12, 40, 40, 6], source)).float().eval()
    x = torch.rand(60, 1, 3, 4, generator=source)
    y = predict(model, x).argmax(1)
    peer = (foolbox.attacks.L2FMNAttack if norm == 2 else foolbox.attacks.LInfFMNAttack)(steps=100)
    wrapped = foolbox.PyTorchModel(model, bounds=(0.0, 1.0), device="cpu")
    theirs = peer(wrapped, x, foolbox.criteria.Misclassification(y), epsilons=None)[1]
    broken = predict(model, theirs).argmax(1) != y
    distance = torch.where(broken, (theirs - x).flatten(1).norm(p=norm, dim=1), math.inf)
    threat = Lp(norm=norm, eps=4.0 if norm == 2 else 1.0, input_range=(0.0, 1.0))
    ours = run_attack(model, x, y, attack=FMN(threat, n_iter=100))
    assert ours.success.float().mean() >= broken.float().mean() - 0.02
    both = ours.success & broken
    assert both.sum() > 40
    assert (ours.distance / distance)[both].median() <= 1.02


def test_samples_without_a_way_out_come_back_unchanged():
    model = nn.Linear(3, 2)
    model.weight.data.zero_()
    model.bias.data = torch.tensor([2.0, -1.5])
    x, y = torch.rand(4, 3, generator=seeded(4)), torch.zeros(4, dtype=torch.long)
    for attack in (DeepFool, FMN):
        assert torch.equal(attack(Lp(norm=2, eps=1.0, input_range=(0.0, 1.0)))(model, x, y), x)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("attack", "options"),
    [
        (DeepFool, {"n_iter": 0}),
        (DeepFool, {"overshoot": -0.1}),
        (DeepFool, {"candidates": 0}),
        (FMN, {"n_iter": 0}),
        (FMN, {"gamma": 1.0}),
        (FMN, {"step_size": 0.0}),
    ],
)
def test_impossible_options_are_refused(attack, options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must"):
        attack(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), **options)
