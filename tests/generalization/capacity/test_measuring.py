import json
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from assay.core import InvalidInputError, NumericalError, cross_entropy, seeded
from assay.generalization.capacity import (
    EstimatorProcedure,
    StackedProcedure,
    TrainingProcedure,
    effective_model_complexity,
    label_gap,
)
from assay.nets import mlp


class Memory(nn.Module):
    """A table of labels by input; what is not in it gets class zero."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.known = {}

    def forward(self, x):
        wanted = torch.tensor([self.known.get(float(row[0]), 0) for row in x])
        return self.scale * nn.functional.one_hot(wanted, 3).to(x)


class Remember:
    """Store the first samples, as many as there is room for, and keep what was given."""

    def __init__(self, room, doubled=None):
        self.room, self.doubled, self.calls = room, doubled, []

    def __call__(self, model, x, y, generator):
        self.calls.append((x, y))
        again = bool(model.known)
        room = self.doubled if again and self.doubled else self.room
        model.known |= {float(row[0]): int(label) for row, label in zip(x[:room], y[:room], strict=True)}


def samples(n=60):
    return torch.arange(1.0, n + 1)[:, None], torch.ones(n, dtype=torch.long) + torch.arange(n) % 2


def memorise(train, *, labels="original", n=60, **options):
    options = {"loss": None, "tolerance": 0.0} | options
    return effective_model_complexity(lambda source: Memory(), train, *samples(n), labels=labels, **options)


def test_the_capacity_of_a_memory_is_its_room():
    found = memorise(Remember(23), repeats=3)
    assert found.n_fitted == (23, 23, 23)
    assert found.n_failed == (24, 24, 24)
    assert found.censored == (False,) * 3
    assert found.mean == pytest.approx(23)
    assert found.n_parameters == 1
    assert found.decided == (None,) * 3
    assert {probe.n for probe in found.probes if not probe.fitted} >= {24}


def test_all_samples_fitted_is_a_bound():
    found = memorise(Remember(99))
    assert found.n_fitted == (60,)
    assert found.censored == (True,)
    assert "≥ 60" in str(found)


def test_sets_are_nested_with_fixed_random_labels():
    train = Remember(31)
    memorise(train, labels="random")
    (x, y), *_ = sorted(train.calls, key=lambda call: -len(call[0]))
    assert all(torch.equal(x[: len(one)], one) and torch.equal(y[: len(two)], two) for one, two in train.calls)
    assert not torch.equal(x, samples()[0][: len(x)])
    assert set(y.tolist()) == {1, 2}
    assert not torch.equal(y, 1 + (x[:, 0].long() - 1) % 2)


def test_random_inputs_keep_labels_and_moments():
    train = Remember(999)
    x, y = torch.randn(800, 2, generator=seeded(0)) * torch.tensor([1.0, 5.0]) + 7, torch.arange(800) % 2
    effective_model_complexity(
        lambda source: nn.Linear(2, 3),
        lambda model, *data: train.calls.append(data),
        x,
        y,
        labels="random inputs",
        start=800,
        loss=None,
        share_fitted=lambda *given: 1.0,
    )
    ((noise, labels, _),) = train.calls
    assert not torch.isin(noise[:, 0], x[:, 0]).any()
    assert noise.mean(0).tolist() == pytest.approx([7, 7], abs=0.7)  # 4 standard errors of the second
    assert noise.std(0).tolist() == pytest.approx([1, 5], rel=0.1)
    assert labels.sum() == 400


def test_copies_are_left_out():
    x = torch.tensor([[1.0], [2.0], [1.0], [3.0]])
    found = effective_model_complexity(lambda source: Memory(), Remember(9), x, torch.tensor([0, 1, 1, 2]), loss=None)
    assert found.n_samples == 3
    assert found.censored == (True,)


def test_an_undecided_failure_is_trained_once_more_from_its_weights():
    # The loss of unknown inputs has a gradient in the scale, so that a failure is never at a minimum.
    train = Remember(10, doubled=40)
    found = memorise(train, loss=cross_entropy, eigenvalues=False, gradient_tolerance=1e-9)
    assert found.n_fitted == (40,)
    assert found.decided == (False,)
    assert "undecided" in str(found)
    failed = [probe for probe in found.probes if not probe.fitted]
    assert all(probe.gradient_norm > 1e-9 and probe.smallest_eigenvalue is None for probe in failed)
    sizes = [len(x) for x, _ in train.calls]
    assert sizes.count(41) == 2
    assert sizes.count(8) == 1


def test_a_failure_at_a_stationary_point_is_decided():
    found = memorise(Remember(10), loss=cross_entropy, gradient_tolerance=1e9)
    assert found.n_fitted == (10,)
    assert found.decided == (True,)
    assert all(probe.smallest_eigenvalue is not None for probe in found.probes if not probe.fitted)


def test_one_of_several_restarts_must_fit():
    room = iter([5, 30] * 99)
    found = memorise(lambda *given: Remember(next(room))(*given), restarts=2)
    assert found.n_fitted == (30,)
    assert found.n_fitted_at_first == (0,)  # the first start fails at the first n, 8


def test_least_squares_fits_exactly_as_many_samples_as_dimensions():
    x = torch.randn(40, 12, generator=seeded(0), dtype=torch.float64)
    y = torch.randn(40, generator=seeded(1), dtype=torch.float64)
    found = effective_model_complexity(
        lambda source: LinearRegression(fit_intercept=False), EstimatorProcedure(), x, y, tolerance=0, repeats=20
    )
    assert found.n_fitted == (12,) * 20
    assert found.n_parameters is None
    assert found.efficiency is None
    assert found.decided == (True,) * 20


def test_nearest_neighbours_fit_everything():
    x, y = samples()
    found = effective_model_complexity(lambda source: KNeighborsClassifier(1), EstimatorProcedure(), x, y)
    assert found.censored == (True,)


def test_finished_runs_are_read_again(tmp_path):
    options = {"folder": tmp_path, "repeats": 2, "labels": "random"}
    first, train = memorise(Remember(23), **options), Remember(1)
    assert memorise(train, **options) == first
    assert train.calls == []
    assert len(memorise(train, **options | {"n": 59}).probes) == len(train.calls) > 0  # other data are other runs
    row = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert set(row["runs"][0][0]) <= {"accuracy", "decided"}


@pytest.mark.slow
def test_processes_give_the_same_answer():
    adam = TrainingProcedure(cross_entropy, partial(torch.optim.Adam, lr=0.05), n_iter=50)
    x, y = torch.randn(30, 3, generator=seeded(0)), torch.arange(30) % 3
    options = {"labels": "random", "repeats": 2, "start": 4, "eigenvalues": False}
    build = lambda source: mlp((3, 6, 3), generator=source)  # noqa: E731
    one = effective_model_complexity(build, adam, x, y, **options)
    assert effective_model_complexity(build, adam, x, y, n_jobs=2, **options) == one
    assert len({probe.accuracy for probe in one.probes}) > 2


def test_a_stack_fits_about_as_much_as_single_networks():
    x, y = torch.randn(120, 4, generator=seeded(0)), torch.arange(120) % 2
    adam = partial(torch.optim.Adam, lr=0.03)
    options = {"labels": "random", "start": 8, "growth": 2.0, "tolerance": 0.4, "loss": None, "repeats": 4}
    build = lambda source: mlp((4, 6, 2), generator=source)  # noqa: E731
    stacked = effective_model_complexity(build, StackedProcedure(cross_entropy, adam, 150, 8), x, y, **options)
    single = effective_model_complexity(
        build, TrainingProcedure(cross_entropy, adam, n_iter=150, batch_size=8), x, y, **options | {"repeats": 2}
    )
    # Four parameters' worth of points are linearly separable nearly always; 44 parameters do not fit 100 random labels.
    assert all(8 <= n <= 60 for n in stacked.n_fitted + single.n_fitted)
    assert abs(np.log(stacked.mean / single.mean)) < np.log(2.5)


def test_the_gap_is_between_both_kinds_of_labels():
    def train(model, x, y, source):
        true = bool(torch.equal(y, 1 + (x[:, 0].long() - 1) % 2))
        Remember(40 if true else 10)(model, x, y, source)

    found = label_gap(lambda source: Memory(), train, *samples(), tolerance=0, loss=None, repeats=2, start=9)
    assert found.original.n_fitted == (40, 40)
    assert found.random.n_fitted == (10, 10)
    assert found.values == pytest.approx([np.log(4)] * 2)
    assert found.percent == pytest.approx(300)
    assert found.censored == (False, False)
    assert "300 % more" in str(found)


def test_a_generator_that_draws_from_the_global_state_is_seeded():
    weights = []

    def train(model, x, y, source):
        weights.append(model.weight.detach().clone())

    options = {"loss": None, "share_fitted": lambda *given: 1.0, "start": 60}
    for seed in (0, 0, 1):
        effective_model_complexity(lambda _: nn.Linear(1, 3), train, *samples(), generator=seeded(seed), **options)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_shared_weights_are_refused():
    network, layer = Memory(), nn.Linear(1, 3)
    for build in (lambda source: network, lambda source: nn.Sequential(layer)):
        with pytest.raises(InvalidInputError, match="same weights"):
            effective_model_complexity(build, Remember(3), *samples())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0}, "start must be"),
        ({"growth": 1.0}, "growth must be"),
        ({"tolerance": 1.0}, "tolerance must lie"),
        ({"repeats": 0}, "repeats must be"),
        ({"gradient_tolerance": 0.0}, "gradient_tolerance must be"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        memorise(Remember(3), **options)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InvalidInputError, match="build must be a function"):
        effective_model_complexity(Memory(), Remember(3), *samples())
    with pytest.raises(InvalidInputError, match="EstimatorProcedure"):
        effective_model_complexity(lambda source: KNeighborsClassifier(), Remember(3), *samples())


def test_an_error_of_the_users_function_is_not_swallowed():
    def train(model, x, y, source):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        memorise(train)


def test_nothing_fitted_has_no_logarithm():
    found = memorise(Remember(0))
    assert found.n_fitted == (0,)
    with pytest.raises(NumericalError, match="single sample"):
        _ = found.mean
