import math

import matplotlib
import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, NumericalError
from assay.generalization import lr_sensitivity, lr_sweep
from assay.generalization.instability import LEARNING_RATES, LRSweep

matplotlib.use("Agg")


@pytest.mark.parametrize(
    ("losses", "initial", "expected"),
    [
        ([3.0, 2.0, 2.5, 4.0], 4.0, (1.0 + 0.0 + 0.5 + 2.0) / 4),
        ([3.0, 2.0, math.nan, math.inf, 9.0], 4.0, (1.0 + 0.0 + 2.0 + 2.0 + 2.0) / 5),
        ([math.nan, math.inf, 7.0], 4.0, 0.0),
        ([2.0, 2.0], 4.0, 0.0),
    ],
)
def test_the_sensitivity_of_a_table_is_that_of_the_formula(losses, initial, expected):
    assert lr_sensitivity(losses, initial) == pytest.approx(expected)
    assert lr_sensitivity(torch.tensor(losses), initial) == pytest.approx(expected)


def test_unusable_losses_are_refused():
    with pytest.raises(InvalidInputError, match="vector"):
        lr_sensitivity([], 1.0)
    with pytest.raises(InvalidInputError, match="initial_loss"):
        lr_sensitivity([1.0], math.nan)


def build(generator):
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.uniform_(model.weight, 1, 2, generator=generator)
    return model


def evaluate(model):
    return float(model.weight.detach().square())


def descend(model, lr, generator):
    """Take ten steps on w²: each multiplies w by 1 - 2 lr."""
    with torch.no_grad():
        for _ in range(10):
            model.weight.mul_(1 - 2 * lr)
    if not model.weight.abs() < 100:
        raise NumericalError("the weight grows without bound")
    return {"draw": float(torch.rand(1, generator=generator)), "global": float(torch.rand(1))}


def test_a_sweep_of_gradient_descent_on_a_parabola_is_known():
    before = torch.get_rng_state()
    found = lr_sweep(build, descend, evaluate, lrs=(0.4, 0.1, 2.0, 1.01), n_seeds=2, random_state=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.lrs == (0.1, 0.4, 1.01, 2.0)
    factors = torch.tensor([0.8**20, 0.2**20, 1.02**20], dtype=torch.float64)
    torch.testing.assert_close(found.losses[:, :3], found.initial_losses[:, None] * factors)
    assert found.losses[:, 3].isnan().all()
    assert found.diverged.tolist() == 2 * [[False, False, True, True]]
    assert found.best_lr == 0.4
    expected = found.initial_losses * (0.8**20 + 1 + 1 - 3 * 0.2**20) / 4
    torch.testing.assert_close(found.sensitivities, expected)
    assert found.sensitivity == pytest.approx(float(expected.mean()))
    # Every rate of a seed sees the same draws, and another seed others.
    draws = found.figures["draw"]
    assert (draws[:, :3] == draws[:, :1]).all()
    assert draws[0, 0] != draws[1, 0]
    assert (found.figures["global"][:, 1] == found.figures["global"][:, 0]).all()
    assert draws[:, 3].isnan().all()


def test_the_stable_range_is_around_the_best_rate():
    losses = torch.tensor([[2.0, 1.05, 1.0, 1.09, 1.2, 1.05, 9.0]], dtype=torch.float64)
    found = LRSweep(LEARNING_RATES, losses, torch.tensor([4.0], dtype=torch.float64))
    assert found.stable_range() == (1e-3, 1e-2)
    assert found.stable_range(0.3) == (1e-3, 1e-1)
    assert "from 0.001 to 0.01" in str(found)
    (line,) = found.plot().lines
    assert line.get_ydata().tolist() == [2.0, 1.05, 1.0, 1.09, 1.2, 1.05, 4.0]


def test_a_sweep_goes_on_where_it_was(tmp_path):
    calls = []

    def counted(model, lr, generator):
        calls.append(lr)
        descend(model, lr, generator)

    first = lr_sweep(build, counted, evaluate, lrs=(0.1, 0.4), folder=tmp_path)
    again = lr_sweep(build, counted, evaluate, lrs=(0.1, 0.2, 0.4), folder=tmp_path)
    assert calls == [0.1, 0.4, 0.2]
    assert torch.equal(again.losses[:, [0, 2]], first.losses)
    assert again.figures == {}


def test_errors_of_the_users_functions_pass_through_and_bad_rates_are_refused():
    def breaks(model, lr, generator):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lr_sweep(build, breaks, evaluate)
    with pytest.raises(InvalidInputError, match="untrained network"):
        lr_sweep(build, descend, lambda model: math.nan)
    for lrs in ((), (0.1, 0.1), (0.1, -1.0)):
        with pytest.raises(InvalidInputError):
            lr_sweep(build, descend, evaluate, lrs=lrs)


def test_the_same_random_state_gives_the_same_sweep():
    one, two, other = (
        lr_sweep(build, descend, evaluate, lrs=(0.1, 0.3), random_state=state).losses for state in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
