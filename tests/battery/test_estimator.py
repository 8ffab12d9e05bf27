"""What every scikit-learn estimator must keep to, beside the checks of all callables that are given a network."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from helpers.rows import rows_of
from helpers.rows.answers import assert_same, named_tensors
from helpers.rows.base import Estimator, title
from helpers.rows.noticing import Misbehaviour, checks_of, unnoticed
from helpers.rows.subjects import subject

every_row = pytest.mark.parametrize("row", rows_of(Estimator), ids=title)
READING = ("predict", "predict_proba", "decision_function", "transform", "inverse_transform", "score", "score_samples")


def shown(params):
    """Return parameters in a form that can be compared."""
    return {
        name: dict(value) if isinstance(value, dict) else value if isinstance(value, torch.Tensor) else repr(value)
        for name, value in params.items()
    }


@every_row
def test_a_clone_has_the_same_parameters(row):
    estimator = row.build(*subject(row))
    assert_same(shown(estimator.get_params(deep=False)), shown(clone(estimator).get_params(deep=False)))


@every_row
def test_parameters_can_be_set_by_name(row):
    estimator, other = row.build(*subject(row)), row.build(*subject(row))
    for name, value in estimator.get_params(deep=False).items():
        other.set_params(**{name: value})
        assert getattr(other, name) is value, name
    if "random_state" in estimator.get_params():
        assert estimator.set_params(random_state=77).random_state == 77


@every_row
def test_fitting_returns_the_estimator_and_leaves_its_parameters(row):
    given = subject(row)
    estimator = row.build(*given)
    before = shown(clone(estimator).get_params(deep=False))
    assert row.fit(estimator, *given) is estimator, "fit must return the estimator"
    assert_same(before, shown(estimator.get_params(deep=False)))


@every_row
def test_only_a_fitted_estimator_has_results(row):
    given = subject(row)
    estimator = row.build(*given)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    for method in READING:
        if hasattr(estimator, method):
            with pytest.raises(NotFittedError):
                getattr(estimator, method)(given[1])
    check_is_fitted(row.fit(estimator, *given))


@every_row
def test_fitting_twice_is_fitting_once(row):
    given = subject(row)
    estimator = row.build(*given)
    first = named_tensors(row.fit(estimator, *given), given[1])
    assert_same(first, named_tensors(row.fit(estimator, *given), given[1]))
    assert_same(first, named_tensors(row.fit(clone(estimator), *given), given[1]))


@every_row
def test_the_seed_decides_the_answer(row):
    given = subject(row)
    if "random_state" not in row.build(*given).get_params():
        return
    first, second, third = (row.answer(*subject(row), seed=seed) for seed in (5, 5, 6))
    assert_same(first, second)
    drawn = [name for name, value in first.items() if name not in third or not torch.equal(value, third[name])]
    assert drawn, "another seed gives the same answer"


class Behaved(BaseEstimator):
    """The well-behaved stand-in: noise around the mean."""

    def __init__(self, scale=1.0, random_state=0):
        self.scale = scale
        self.random_state = random_state

    def fit(self, x):
        draw = np.random.default_rng(self.random_state)
        self.centre_ = x.mean(0) + self.scale * torch.from_numpy(draw.standard_normal(x.shape[1])).to(x)
        return self

    def predict(self, x):
        check_is_fitted(self)
        return self.centre_.expand(len(x), -1)


class Rounds(Behaved):
    def __init__(self, scale=1.0, random_state=0):
        super().__init__(float(scale) + 1, random_state)


class Forgets(Behaved):
    def set_params(self, **params):
        return self


class ReturnsNothing(Behaved):
    def fit(self, x):
        super().fit(x)


class Resolves(Behaved):
    def fit(self, x):
        super().fit(x)
        self.scale = 0.5
        return self


class FittedAtOnce(Behaved):
    def __init__(self, scale=1.0, random_state=0):
        super().__init__(scale, random_state)
        self.centre_ = torch.zeros(4)


class GoesOn(Behaved):
    def fit(self, x):
        before = getattr(self, "centre_", 0)
        super().fit(x)
        self.centre_ = self.centre_ + before
        return self


class Unseeded(Behaved):
    def fit(self, x):
        self.centre_ = x.mean(0)
        return self


def stand_in(kind):
    return Estimator(kind, fit=lambda estimator, model, x, y: estimator.fit(x))


STAND_INS = [
    Misbehaviour(stand_in(Rounds), test_a_clone_has_the_same_parameters),
    Misbehaviour(stand_in(Forgets), test_parameters_can_be_set_by_name),
    Misbehaviour(stand_in(ReturnsNothing), test_fitting_returns_the_estimator_and_leaves_its_parameters, "return"),
    Misbehaviour(stand_in(Resolves), test_fitting_returns_the_estimator_and_leaves_its_parameters, "scale"),
    Misbehaviour(stand_in(FittedAtOnce), test_only_a_fitted_estimator_has_results),
    Misbehaviour(stand_in(GoesOn), test_fitting_twice_is_fitting_once),
    Misbehaviour(stand_in(Unseeded), test_the_seed_decides_the_answer, "another seed"),
]


@pytest.mark.parametrize("misbehaviour", STAND_INS, ids=lambda one: title(one.row))
def test_an_estimator_that_misbehaves_is_noticed(misbehaviour):
    misbehaviour.must_be_noticed()


@pytest.mark.parametrize("check", checks_of(globals()), ids=lambda check: check.__name__)
def test_an_estimator_that_behaves_passes(check):
    check(stand_in(Behaved))


def test_every_check_notices_a_stand_in():
    assert unnoticed(globals(), STAND_INS) == []
