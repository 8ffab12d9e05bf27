import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from assay.adversarial import APGD, PGD, Lp, Square, robust_accuracy
from assay.adversarial.attacks import standard_attacks
from assay.adversarial.attacks.square import window_side
from assay.adversarial.attacks.square_steps import bump
from assay.core import InvalidInputError, predict, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_linear, random_mlp

NORMS = (2, math.inf)


def image_problem() -> tuple[nn.Module, Tensor, Tensor]:
    source = seeded(0)
    model = nn.Sequential(nn.Flatten(), random_mlp([2 * 8 * 6, 30, 5], source))
    x = torch.rand(25, 2, 8, 6, generator=source, dtype=torch.float64)
    return model, x, predict(model, x).argmax(1)


@pytest.mark.parametrize("norm", NORMS)
def test_the_margin_never_rises_and_the_ball_is_not_left(norm):
    model, x, y = image_problem()
    threat = Lp(norm=norm, eps=1e-3, input_range=(0.0, 1.0))  # so small that no sample breaks
    margins = []
    for n_queries in (1, 5, 80):
        x_adv = Square(threat, n_queries)(model, x, y)
        assert threat.distance(x_adv, x).max() <= 1e-3 * (1 + 1e-9)
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        scores = predict(model, x_adv)
        assert torch.equal(scores.argmax(1), y)
        margins.append(scores.gather(1, y[:, None]).squeeze(1) - scores.scatter(1, y[:, None], -math.inf).amax(1))
    # The schedule is scaled to the number of queries, so that a longer run does not continue a shorter one.
    assert (margins[1] <= margins[0] + 1e-12).all()
    assert margins[2].mean() < margins[1].mean() < margins[0].mean()


def test_on_a_linear_network_it_approaches_the_optimum():
    source = seeded(1)
    model, x = random_linear(6, 2, source), points(20, 6, source)
    y, weight = predict(model, x).argmax(1), model.weight.detach().diff(dim=0).squeeze(0)
    threat = Lp(norm=math.inf, eps=0.01, input_range=UNBOUNDED)
    before, after = (predict(model, at).diff(dim=1).abs().squeeze(1) for at in (x, Square(threat, 150)(model, x, y)))
    left = before > 0.01 * weight.norm(p=1)  # what no change within the ball can break
    assert left.sum() > 10
    # The search ends at a corner of the ball: the best one lowers the margin by the radius times the 1-norm.
    torch.testing.assert_close((before - after)[left], (0.01 * weight.norm(p=1)).expand(int(left.sum())))


class Rounded(nn.Module):
    """Scores at inputs rounded to a grid of 1/64, through which no gradient comes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((64 * x).round() / 64)


@pytest.mark.parametrize("norm", NORMS)
def test_it_needs_no_gradient(norm):
    model, x, y = image_problem()

    threat = Lp(norm=norm, eps=0.15 if norm == math.inf else 1.0, input_range=(0.0, 1.0))
    wrapped = Rounded(model)
    y = predict(wrapped, x).argmax(1)
    by_gradient = predict(wrapped, PGD(threat, n_iter=20)(wrapped, x, y)).argmax(1) != y
    by_search = predict(wrapped, Square(threat, 80)(wrapped, x, y)).argmax(1) != y
    assert by_gradient.sum() == 0
    assert by_search.sum() > 5
    attacks = {"PGD": PGD(threat, n_iter=20), "Square": Square(threat, 80)}
    report = robust_accuracy(wrapped, x, y, threat=threat, attacks=attacks)
    assert report.broken_without_gradients == by_search.sum()
    assert f"without gradients broke {by_search.sum()} samples" in str(report)


def test_masking_is_not_named_where_attacks_by_gradient_do_as_well():
    model, x, y = image_problem()
    threat = Lp(norm=math.inf, eps=0.05, input_range=(0.0, 1.0))
    attacks = {"APGD": APGD(threat, 30), "Square": Square(threat, 60)}
    report = robust_accuracy(model, x, y, threat=threat, attacks=attacks)
    assert report.tallies[0].broken > 5
    assert report.broken_without_gradients == 0
    assert "gradients may be masked" not in str(report)
    alone = robust_accuracy(model, x, y, threat=threat, attacks={"Square": Square(threat, 60)})
    assert alone.tallies[0].broken > 0
    assert alone.broken_without_gradients == 0


@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_is_attacked_alike_alone_and_other_seeds_differ(norm):
    model, x, y = image_problem()
    attack = Square(Lp(norm=norm, eps=0.01, input_range=(0.0, 1.0)), 12)
    together = attack(model, x, y)
    assert torch.equal(torch.cat([attack(model, x[i : i + 1], y[i : i + 1]) for i in range(4)]), together[:4])
    assert not torch.equal(replace(attack, random_state=1)(model, x, y), together)


def test_one_change_is_within_one_window():
    model, x, y = image_problem()
    attack = Square(Lp(norm=math.inf, eps=0.01, input_range=UNBOUNDED), 2, p_init=0.1)
    start, then = (replace(attack, n_queries=n)(model, x, y) for n in (1, 2))
    side = window_side(1, attack, 8, 6)[0]
    moved = ((then - start).abs() > 1e-12).any(1)
    assert moved.any()
    for one in moved.nonzero()[:, 0].unique():
        rows, columns = moved[one].nonzero().T
        assert rows.max() - rows.min() < side
        assert columns.max() - columns.min() < side


@pytest.mark.parametrize("shape", [(3, 3), (7, 7), (5, 1), (1, 8), (1, 1)])
def test_a_bump_has_norm_one_and_two_signs(shape):
    pattern = bump(*shape)
    assert pattern.shape == shape
    assert pattern.norm() == pytest.approx(1)
    if pattern.numel() > 1:
        assert pattern.min() < 0 < pattern.max()


def test_the_standard_ensemble_holds_it_with_a_seed_of_its_own():
    threat = Lp(norm=2, eps=1.0, input_range=(0.0, 1.0))
    attacks = standard_attacks(threat, 10, n_iter=7, n_queries=11, n_restarts=2, random_state=3)
    assert list(attacks) == ["APGD-CE", "APGD-DLR", "MALT", "Square"]
    seeds = {attacks[name].random_state for name in ("APGD-CE", "APGD-DLR", "Square")}
    assert len(seeds | {attacks["MALT"].attack.random_state}) == 4
    assert attacks["Square"].n_queries == 11
    assert {attacks["APGD-CE"].n_restarts, attacks["MALT"].attack.n_restarts} == {2}
    assert attacks != standard_attacks(threat, 10, n_iter=7, n_queries=11, n_restarts=2, random_state=4)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("options", [{"n_queries": 0}, {"p_init": 0.0}, {"p_init": 1.5}])
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be"):
        Square(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), **options)


def test_more_than_height_and_width_is_refused():
    x = torch.rand(2, 3, 4, 5, 6, generator=seeded(2))
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 3))
    with pytest.raises(InvalidInputError, match="one axis less"):
        Square(Lp(norm=2, eps=0.1, input_range=UNBOUNDED))(model, x, torch.tensor([0, 1]))
