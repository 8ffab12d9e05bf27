from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from assay.core import NumericalError
from assay.representation import StochasticCCA, StochasticPLS
from assay.representation.cca import closed_form_cca


def views(n=600, sizes=(6, 5), dtype=np.float64):
    source = np.random.default_rng(0)
    shared = source.normal(size=(n, 2)) * [2.0, 1.0]
    return tuple((shared @ source.normal(size=(2, d)) + source.normal(size=(n, d)) + 4).astype(dtype) for d in sizes)


def solved(data, k=2, ridge=0.0):
    return closed_form_cca([torch.as_tensor(np.float64(view)) for view in data], k, ridge=ridge)


@pytest.mark.parametrize("estimator", [StochasticCCA(epochs=1), StochasticPLS(epochs=1)])
def test_passes_the_checks_of_scikit_learn(estimator):
    assert len(check_estimator(estimator, on_skip=None)) > 40


@pytest.mark.parametrize("unbiased", [False, True])
def test_cca_nears_the_closed_form(unbiased):
    data = views()
    fitted = StochasticCCA(2, epochs=60, lr=0.02, unbiased=unbiased).fit(data)
    wanted = solved(data).eigenvalues
    assert fitted.score(data) == pytest.approx(float(wanted.sum()), rel=0.01)
    np.testing.assert_allclose(fitted.eigenvalues_, wanted, atol=0.02)
    scores = fitted.transform(data)
    np.testing.assert_allclose(np.cov(np.hstack(scores).T)[:2, :2], np.eye(2), atol=1e-8)
    np.testing.assert_allclose(np.cov(np.hstack(scores).T)[:2, 2:], np.diag(fitted.eigenvalues_), atol=1e-8)


def test_full_batches_reach_the_closed_form():
    data = views(100)
    fitted = StochasticCCA(2, batch_size=100, epochs=800, lr=0.05).fit(data)
    np.testing.assert_allclose(fitted.eigenvalues_, solved(data).eigenvalues, atol=1e-6)


def test_pls_nears_the_singular_values_of_the_cross_covariance():
    data = views()
    fitted = StochasticPLS(2, epochs=60, lr=0.02, scale=False).fit(data)
    wanted = solved(data, ridge=1.0)
    np.testing.assert_allclose(fitted.eigenvalues_, wanted.eigenvalues, rtol=0.02)
    assert fitted.score(data) == pytest.approx(float(wanted.eigenvalues.sum()), rel=0.02)
    np.testing.assert_allclose(fitted.weights_[0].T @ fitted.weights_[0], np.eye(2), atol=1e-8)
    standardised = [(view - view.mean(0)) / view.std(0, ddof=1) for view in data]
    scaled = StochasticPLS(2, epochs=60, lr=0.02).fit(data)
    wanted = solved(standardised, ridge=1.0)
    assert scaled.score(data) == pytest.approx(float(wanted.eigenvalues.sum()), rel=0.02)


def test_three_views_near_the_eigenproblem():
    data = views(sizes=(5, 4, 3))
    fitted = StochasticCCA(2, epochs=60, lr=0.02).fit(data)
    np.testing.assert_allclose(fitted.eigenvalues_, solved(data).eigenvalues, atol=0.05)
    assert len(fitted.transform(data)) == 3


def test_a_second_view_as_y_is_that_of_a_tuple():
    data = views()
    first, second = StochasticCCA(2, epochs=2).fit(data), StochasticCCA(2, epochs=2).fit(*data)
    np.testing.assert_array_equal(first.weights_[1], second.weights_[1])
    np.testing.assert_array_equal(first.transform(data[0]), second.transform(*data)[0])
    assert first.score(data) == second.score(*data)
    assert list(first.get_feature_names_out()) == ["stochasticcca0", "stochasticcca1"]


def test_chunks_train_and_keep_the_mean_of_all():
    data = views(600)
    fitted = StochasticCCA(2, batch_size=50, lr=0.02)
    for _ in range(30):
        for start in range(0, 600, 150):
            fitted.partial_fit(tuple(view[start : start + 150] for view in data))
    assert fitted.n_iter_ == 30 * 12
    assert fitted.score(data) == pytest.approx(float(solved(data).eigenvalues.sum()), rel=0.02)
    np.testing.assert_allclose(fitted.means_[0], data[0].mean(0), atol=1e-10)


def test_rescaled_columns_change_nothing_in_cca_and_constant_ones_have_no_weight():
    data = views()
    other = (np.column_stack([1000 * data[0], np.full(600, 3.0)]), data[1] / 50)
    first, second = StochasticCCA(2, epochs=60, lr=0.02).fit(data), StochasticCCA(2, epochs=60, lr=0.02).fit(other)
    assert second.score(other) == pytest.approx(first.score(data), rel=0.01)
    np.testing.assert_array_equal(second.weights_[0][-1], 0)


def test_more_components_than_directions_go_to_zero():
    data = views()
    fitted = StochasticCCA(3, epochs=5).fit((data[0], data[1][:, :1]))
    assert fitted.weights_[1].shape == (1, 3)
    assert fitted.eigenvalues_[1:] == pytest.approx([0, 0], abs=1e-6)


def test_single_precision_stays_and_a_memory_map_is_read(tmp_path):
    data = views(dtype=np.float32)
    np.save(tmp_path / "left.npy", data[0])
    left = np.load(tmp_path / "left.npy", mmap_mode="r", allow_pickle=False)
    fitted = StochasticCCA(2, epochs=2).fit((left, data[1]))
    assert fitted.transform(left).dtype == np.float32
    np.testing.assert_array_equal(fitted.weights_[0], StochasticCCA(2, epochs=2).fit(data).weights_[0])


def test_another_optimizer_and_the_hebbian_rule_train():
    data, best = views(), float(solved(views()).eigenvalues.sum())
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    assert StochasticCCA(2, epochs=40, optimizer=sgd).fit(data).score(data) > 0.95 * best
    assert StochasticCCA(2, epochs=40, lr=0.02, rule="hebbian").fit(data).score(data) > 0.95 * best


def test_divergence_is_an_error():
    with pytest.raises(NumericalError, match="diverged"):
        StochasticCCA(2, optimizer=partial(torch.optim.SGD, lr=1e3)).fit(views())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"ridge": 2.0}, "ridge"),
        ({"batch_size": 1}, "batch_size"),
        ({"batch_size": 3, "unbiased": True}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"rule": "oja"}, "rule"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StochasticCCA(**options).fit(views())


def test_wrong_views_are_refused():
    data = views()
    fitted = clone(StochasticCCA(2, epochs=1)).fit(data)
    for call, message in [
        (lambda: StochasticCCA().fit((data[0],)), "two or more"),
        (lambda: StochasticCCA().fit(data, data[0]), "another one"),
        (lambda: StochasticCCA().fit((data[0], data[1][:9])), "inconsistent"),
        (lambda: fitted.transform((data[0], data[0])), "features"),
        (lambda: fitted.score(data[0]), "all 2 views"),
        (lambda: fitted.partial_fit(data[0]), "one view"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
