import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import kstest

from assay.adversarial import APGD, Lp, TargetedAPGD
from assay.adversarial.attacks.starts import sample_keys, start_on_surface, uniform_by_sample
from assay.core import InvalidInputError, seeded
from helpers.adversarial_networks import UNBOUNDED, points, random_mlp

NORMS = (2, math.inf)


@pytest.mark.parametrize("norm", NORMS)
def test_the_start_touches_the_ball_and_differs_by_label_seed_and_restart(norm):
    x, y, threat = points(40, 30, seeded(5)), torch.arange(40) % 4, Lp(norm=norm, eps=0.3, input_range=UNBOUNDED)

    def start(y=y, **options):
        return start_on_surface(x, y, threat=threat, **({"random_state": 0} | options)) - x

    torch.testing.assert_close(start().flatten(1).norm(p=norm, dim=1), torch.full((40,), 0.3, dtype=x.dtype))
    for other in (start(y + 1), start(random_state=1), start(restart=1)):
        # Independent draws of 40 x 30 entries correlate by less than 5 standard errors.
        assert torch.corrcoef(torch.stack([start().flatten(), other.flatten()]))[0, 1].abs() < 5 / 1200**0.5


def test_a_start_is_of_its_sample_only():
    x, y = points(9, 5, seeded(6)), torch.arange(9) % 3
    threat = Lp(norm=2, eps=0.3, input_range=UNBOUNDED)
    together = start_on_surface(x, y, threat=threat, random_state=3)
    order = torch.tensor([7, 2, 5])
    assert torch.equal(start_on_surface(x[order], y[order], threat=threat, random_state=3), together[order])


def test_the_numbers_behind_starts_are_uniform_and_independent():
    x, y = torch.zeros(300, 1) + torch.arange(300)[:, None] / 300, torch.zeros(300, dtype=torch.long)
    keys = sample_keys(x, y, 0)
    drawn = torch.stack([uniform_by_sample(keys, (100,), draw=draw) for draw in range(2)])
    assert kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
    pairs = torch.stack([drawn[0].flatten(), drawn[1].flatten(), drawn[0].roll(1, 0).flatten(), drawn[0].T.flatten()])
    assert (torch.corrcoef(pairs) - torch.eye(4)).abs().max() < 5 / 30000**0.5


def test_random_starts_are_seeded_and_leave_global_state_alone():
    source = seeded(3)
    model, x = random_mlp([6, 20, 5], source), points(5, 6, source)
    target = (model(x).argmax(1) + 1) % 5
    attack = TargetedAPGD(Lp(norm=2, eps=0.01, input_range=UNBOUNDED), n_iter=1, random_state=7)
    before = torch.get_rng_state()
    once, again, other = (
        attack(model, x, target),
        attack(model, x, target),
        replace(attack, random_state=8)(model, x, target),
    )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("attack", [APGD, TargetedAPGD])
def test_restarts_from_the_same_point_are_refused(attack):
    with pytest.raises(InvalidInputError, match="pass a random_state"):
        attack(Lp(norm=2, eps=0.1, input_range=UNBOUNDED), n_restarts=2, random_state=None)
