import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from assay.generalization.double_descent import RandomFeatures

X = np.random.default_rng(0).normal(size=(30, 4))


def test_passes_the_checks_of_scikit_learn():
    results = check_estimator(RandomFeatures(n_features=5, normalization="standardize"), on_skip=None)
    assert len(results) > 30


@pytest.mark.parametrize("normalization", [None, "center", "standardize"])
def test_features_are_those_of_the_formula(normalization):
    fitted = RandomFeatures(7, normalization=normalization, random_state=3).fit(X[:20])
    weights = np.random.RandomState(3).standard_normal((4, 7)) / 2
    plain, new = np.maximum(X[:20] @ weights, 0), np.maximum(X[20:] @ weights, 0)
    if normalization is not None:
        new = new - plain.mean(0)
    if normalization == "standardize":
        new = new / plain.std(0)
    np.testing.assert_allclose(fitted.transform(X[20:]), new / np.sqrt(7), atol=1e-14)


def test_the_variance_of_a_weight_is_one_over_the_number_of_inputs():
    weights = RandomFeatures(20_000, random_state=1).fit(X).weights_
    # The relative error of a variance from 80 000 draws has the deviation 0.005: five of them.
    assert weights.var() == pytest.approx(1 / 4, rel=0.025)


def test_a_feature_that_hardly_varies_is_divided_by_a_thousandth_of_the_overall_deviation():
    flat = np.column_stack([1e-9 * X[:, 0], X[:, 1]])
    fitted = RandomFeatures(2, activation=lambda z: np.column_stack([1e-9 * z[:, 0], z[:, 1]]), random_state=0)
    fitted.set_params(normalization="standardize").fit(flat)
    plain = fitted.activation(flat @ fitted.weights_)
    assert fitted.scale_[0] == pytest.approx(1e-3 * plain.std())
    assert fitted.scale_[1] == pytest.approx(plain[:, 1].std())


def test_constant_features_are_centred_and_stay_finite():
    fitted = RandomFeatures(3, normalization="standardize").fit(np.ones((4, 2)))
    np.testing.assert_allclose(fitted.transform(np.ones((2, 2))), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_features": 0}, "n_features"),
        ({"normalization": "batch"}, "normalization"),
        ({"activation": "gelu"}, "activation"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RandomFeatures(**options).fit(X)
