"""Fitted perceptrons of scikit-learn as subjects."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.audit import Subject, run_audit
from assay.core import InvalidInputError, binary_cross_entropy, cross_entropy, squared_error
from assay.data import load

DRAW = np.random.default_rng(0)
X = DRAW.random((40, 5))
NAMES = np.array(["wool", "silk", "jute"])


def fitted(kind, y, x=X, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sixty passes may not converge
        options = {
            "hidden_layer_sizes": (6, 4),
            "max_iter": 60,
            "learning_rate_init": 0.05,
            "random_state": 0,
        } | options
        return kind(**options).fit(x, y)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_is_an_equal_network(kind, activation, classes):
    x, y = X.astype(kind), NAMES[(classes * X[:, 0]).astype(int)]
    estimator = fitted(MLPClassifier, y, x, activation=activation)
    subject = Subject(estimator, train=(x, y))
    assert subject.train[0].dtype == next(subject.model.parameters()).dtype == torch.from_numpy(x).dtype
    scores = subject.model(subject.train[0])
    found = scores.softmax(1) if classes > 2 else torch.cat([1 - scores.sigmoid(), scores.sigmoid()], 1)
    tolerance = 1e-12 if kind is np.float64 else 1e-5
    np.testing.assert_allclose(found.detach().numpy(), estimator.predict_proba(x), atol=tolerance)
    assert subject.loss is (cross_entropy if classes > 2 else binary_cross_entropy)
    assert subject.class_names == tuple(estimator.classes_)
    assert [subject.class_names[label] for label in subject.train[1]] == y.tolist()


@pytest.mark.parametrize("targets", [1, 2])
def test_a_regression_is_an_equal_network(targets):
    y = DRAW.random((40, targets)).squeeze()
    estimator = fitted(MLPRegressor, y)
    subject = Subject(estimator, train=(X, y))
    assert subject.loss is squared_error
    assert subject.class_names == ()
    outputs = subject.model(subject.train[0]).detach().numpy()
    np.testing.assert_allclose(outputs.squeeze(), estimator.predict(X), atol=1e-12)
    assert subject.train[1].tolist() == y.tolist()


@pytest.mark.parametrize("form", [np.asarray, list, torch.from_numpy])
def test_numbers_that_do_not_count_from_zero_are_places_in_classes(form):
    y = np.array([7, 3])[np.arange(40) % 2]
    subject = Subject(fitted(MLPClassifier, y), train=(X, form(y)))
    assert subject.class_names == ("3", "7")
    assert subject.train[1].tolist() == (y == 7).astype(int).tolist()


def test_the_data_may_be_a_data_set():
    digits = load("digits")
    estimator = fitted(MLPClassifier, digits.y_train.numpy(), digits.x_train.flatten(1).numpy())
    pairs = torch.utils.data.TensorDataset(digits.x_test.flatten(1), digits.y_test)
    subject = Subject(estimator, train=pairs, class_names=tuple("abcdefghij"))
    assert torch.equal(subject.train[1], digits.y_test)
    assert subject.class_names[0] == "a"


def test_what_was_given_is_said_and_left_as_it_was(tmp_path):
    y = NAMES[(3 * X[:, 0]).astype(int)]
    estimator = fitted(MLPClassifier, y)
    before = [weight.copy() for weight in estimator.coefs_]
    state = torch.get_rng_state()
    subject = Subject(estimator, train=(X, y), test=(DRAW.random((30, 5)), y[:30]))
    assert subject.notes == ("MLPClassifier of scikit-learn is audited as an equal network of PyTorch",)
    assert torch.equal(torch.get_rng_state(), state)
    result = run_audit(subject, probes=["robustness"], out=tmp_path / "audit")
    assert [answer.status for answer in result.answers] == ["answered"]
    assert all(np.array_equal(one, other) for one, other in zip(before, estimator.coefs_, strict=True))


@pytest.mark.parametrize(
    ("make", "problem", "mend"),
    [
        (lambda y: MLPClassifier(), "is not fitted", "call its fit first"),
        (lambda y: RandomForestClassifier(2).fit(X, y), "a RandomForestClassifier of scikit-learn", "MLPClassifier"),
        (
            lambda y: make_pipeline(StandardScaler(), fitted(MLPClassifier, y)),
            "a Pipeline of scikit-learn",
            "its last step, with the data as the steps before leave them",
        ),
        (lambda y: fitted(MLPClassifier, np.eye(3, dtype=int)[y]), "3 labels a sample", "one for each label"),
        (lambda y: fitted(MLPRegressor, y, loss="poisson"), "ends in exp", "loss='squared_error'"),
        (lambda y: fitted(MLPClassifier, y + 1), "labels 0 are not among the classes", "as they were in fit"),
    ],
)
def test_an_estimator_that_is_no_such_network_is_refused_with_its_mend(make, problem, mend):
    y = np.arange(40) % 3
    with pytest.raises(InvalidInputError) as refusal:
        Subject(make(y), train=(X, y))
    assert problem in str(refusal.value)
    assert mend in str(refusal.value)
