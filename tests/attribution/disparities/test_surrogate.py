import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from assay.attribution import LocalSurrogate
from assay.attribution.disparities import explanation_disparity
from assay.core import InvalidInputError, NumericalError, seeded
from assay.nets import mlp

X = np.random.default_rng(0).normal(size=(80, 3)) * [1.0, 5.0, 0.2] + [0.0, 10.0, 1.0]
X = np.concatenate([X, np.random.default_rng(1).integers(3, size=(80, 1))], 1)


def curved(z):
    return 1 / (1 + np.exp(-np.sin(3 * z[:, 0]) - 0.1 * z[:, 1] * z[:, 2] - (z[:, 3] == 1)))


@pytest.mark.parametrize("center", ["sample", "mean"])
def test_the_surrogate_is_scikit_learns_ridge_on_its_neighbours(center):
    """Record the neighbours that the model is asked for, and fit each row by another library."""
    asked = []

    def recorded(z):
        asked.append(z.copy())
        return curved(z)

    fitted = LocalSurrogate(40, categorical=[3], center=center, alpha=0.7).fit(X)
    found = fitted.explain(recorded, X[:5])
    scale, mean = X.std(0), X.mean(0)
    scale[3], mean[3] = 1, 0
    for row, z in zip(X[:5], asked[-1].reshape(5, 40, 4), strict=True):
        features = (z - mean) / scale
        features[:, 3] = z[:, 3] == row[3]
        distance = np.linalg.norm(features - features[0], axis=1)
        weights = np.sqrt(np.exp(-(distance**2) / (0.75 * math.sqrt(4)) ** 2))
        ridge = Ridge(alpha=0.7).fit(features, curved(z), sample_weight=weights)
        place = int(np.flatnonzero((X[:5] == row).all(1))[0])
        np.testing.assert_allclose(found.coef[place], ridge.coef_, atol=1e-12)
        np.testing.assert_allclose(found.intercept[place], ridge.intercept_, atol=1e-12)
        np.testing.assert_allclose(found.local_prediction[place], ridge.predict(features[:1])[0], atol=1e-12)
        np.testing.assert_allclose(found.score[place], ridge.score(features, curved(z), weights), atol=1e-10)
        np.testing.assert_allclose(found.effective_samples[place], weights.sum() ** 2 / (weights**2).sum())
        assert (z[0] == row).all()


def test_neighbours_have_the_spread_of_the_data_and_its_frequencies():
    asked = []
    fitted = LocalSurrogate(20_001, categorical=[3]).fit(X)
    fitted.explain(lambda z: asked.append(z) or curved(z), X[:1])
    z = asked[-1][1:]
    # Five standard errors each.
    assert (np.abs(z[:, :3].mean(0) - X[0, :3]) < 5 * X[:, :3].std(0) / 20_000**0.5).all()
    np.testing.assert_allclose(z[:, :3].std(0), X[:, :3].std(0), rtol=5 / 40_000**0.5)
    for value in range(3):
        p = (X[:, 3] == value).mean()
        assert abs((z[:, 3] == value).mean() - p) < 5 * (p * (1 - p) / 20_000) ** 0.5


def test_an_affine_probability_is_explained_in_full():
    def affine(z):
        return 0.5 + 0.05 * z[:, 0] - 0.003 * (z[:, 1] - 10)

    exact = LocalSurrogate(200, alpha=0.0).fit(X).explain(affine, X)
    np.testing.assert_allclose(exact.local_prediction, affine(X), atol=1e-8)
    np.testing.assert_allclose(exact.coef, np.broadcast_to([0.05, -0.003, 0, 0] * X.std(0), (80, 4)), atol=1e-8)
    ridge = LocalSurrogate(500).fit(X).explain(affine, X)
    report = explanation_disparity(ridge.model_prediction, ridge.local_prediction, X[:, 3] > 0)
    assert report.accuracy == (1.0, 1.0)
    assert max(report.residual) < 0.02
    assert report.mean_gap["accuracy"] == report.max_gap["accuracy"] == 0


def test_an_explanation_depends_on_its_row_alone():
    fitted = LocalSurrogate(50, categorical=[3], random_state=3).fit(X)
    together = fitted.explain(curved, X)
    shuffled = fitted.explain(curved, X[::-1])
    alone = fitted.explain(curved, X[17:18])
    in_parts = LocalSurrogate(50, categorical=[3], random_state=3, batch_size=1).fit(X).explain(curved, X)
    assert np.array_equal(together.coef, shuffled.coef[::-1])
    np.testing.assert_allclose(together.coef[17], alone.coef[0], atol=1e-12)
    np.testing.assert_allclose(together.coef, in_parts.coef, atol=1e-12)
    other = LocalSurrogate(50, categorical=[3], random_state=4).fit(X).explain(curved, X)
    assert not np.allclose(other.coef, together.coef)


def test_rows_far_from_the_mean_have_few_neighbours_there():
    rows = np.array([X.mean(0), X.mean(0) + 5 * X.std(0)])
    from_mean = LocalSurrogate(500, center="mean").fit(X).explain(curved, rows)
    from_row = LocalSurrogate(500).fit(X).explain(curved, rows)
    assert from_mean.effective_samples[1] < 0.2 * from_mean.effective_samples[0]
    assert from_row.effective_samples[1] > 0.5 * from_row.effective_samples[0]


def test_networks_and_classifiers_are_taken_as_they_are():
    fitted = LocalSurrogate(30).fit(X)
    net = mlp((4, 8, 3), generator=seeded(0)).double()

    def softmax(z):
        return net(torch.tensor(z)).softmax(1).detach().numpy()

    labels = np.arange(80) % 3
    by_row = fitted.explain(net, X, label=labels)
    for label in range(3):
        own = labels == label
        one = fitted.explain(lambda z, label=label: softmax(z)[:, label], X[own])
        np.testing.assert_allclose(by_row.coef[own], one.coef, atol=1e-12)
    ready = fitted.explain(nn.Sequential(net, nn.Softmax(1)), X, label=labels)
    np.testing.assert_allclose(ready.coef, by_row.coef, atol=1e-12)
    binary = mlp((4, 8, 1), generator=seeded(0)).double()
    for model in (binary, nn.Sequential(binary, nn.Sigmoid())):
        found = fitted.explain(model, X)
        expected = fitted.explain(lambda z: binary(torch.tensor(z)).sigmoid().detach().numpy(), X)
        np.testing.assert_allclose(found.coef, expected.coef, atol=1e-12)
    classifier = LogisticRegression().fit(X, X[:, 0] > 0)
    expected = fitted.explain(lambda z: classifier.predict_proba(z)[:, 1], X)
    assert np.array_equal(fitted.explain(classifier, X).coef, expected.coef)


def test_a_network_comes_back_in_training_mode():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 1)).train()
    fitted = LocalSurrogate(30).fit(X)
    assert np.array_equal(fitted.explain(net, X[:4]).coef, fitted.explain(net, X[:4]).coef)
    assert net.training
    assert net[1].running_mean.abs().sum() == 0


def test_decoded_rows_reach_the_model():
    seen = {}

    def decode(places, values):
        seen["places"] = places
        return values[..., None].repeat(2, 3).reshape(-1, 4, 2)

    fitted = LocalSurrogate(30).fit(X)
    found = fitted.explain(lambda z: curved(z[..., 1]), X[:6], decode=decode)
    assert seen["places"].tolist() == list(range(6))
    assert np.array_equal(found.coef, fitted.explain(curved, X[:6]).coef)
    with pytest.raises(InvalidInputError, match="decode must return 3 inputs"):
        fitted.explain(curved, X[:3], decode=lambda places, values: values[0])


def test_categorical_columns_are_found_by_place_and_refused_otherwise():
    with pytest.raises(InvalidInputError, match="columns from 0 to 3, got 4"):
        LocalSurrogate(categorical=[4]).fit(X)
    with pytest.raises(InvalidInputError, match="no column 'sex'"):
        LocalSurrogate(categorical=["sex"]).fit(X)
    with pytest.raises(InvalidInputError, match="names a column twice"):
        LocalSurrogate(categorical=[1, 1]).fit(X)


def test_what_is_no_probability_is_refused():
    fitted = LocalSurrogate(10).fit(X)
    with pytest.raises(InvalidInputError, match="must return probabilities, got values from"):
        fitted.explain(lambda z: z[:, 1], X)
    with pytest.raises(NumericalError, match="NaN"):
        fitted.explain(lambda z: z[:, 1] * np.nan, X)
    with pytest.raises(InvalidInputError, match="of shape"):
        fitted.explain(lambda z: np.ones(3), X)
    with pytest.raises(InvalidInputError, match="label must be a class from 0 to 1"):
        fitted.explain(lambda z: np.full((len(z), 2), 0.5), X, label=2)
    with pytest.raises(InvalidInputError, match="class 1 alone"):
        fitted.explain(curved, X, label=0)
    with pytest.raises(InvalidInputError, match=r"must be a torch\.nn\.Module"):
        fitted.explain(3, X)
    with pytest.raises(NumericalError, match="alpha above 0"):
        LocalSurrogate(3, alpha=0.0).fit(X).explain(curved, X)
    with pytest.raises(ZeroDivisionError):
        fitted.explain(lambda z: 1 / 0, X)


def test_a_narrow_kernel_is_reported():
    found = LocalSurrogate(50, kernel_width=0.01).fit(X).explain(curved, X)
    assert "80 have fewer effective samples than coefficients" in str(found)


def test_keeps_all_of_scikit_learns_checks():
    results = check_estimator(LocalSurrogate(20), on_fail=None, on_skip=None)
    failed = [str(result["exception"]) for result in results if result["status"] == "failed"]
    # Arguments of the wrong type, which one check passes to the constructor, are refused only while the tests run.
    assert [why for why in failed if "typechecking parameter 'center'" not in why] == []
    assert len(results) - len(failed) > 30
