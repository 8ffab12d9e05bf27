"""CCA and PLS against cca-zoo, which averages over views and includes a view and itself."""

import numpy as np
import pytest
import torch

from assay.representation import StochasticCCA
from assay.representation.cca import canonical_correlations, closed_form_cca

zoo = pytest.importorskip("cca_zoo.linear", exc_type=ImportError)


def views(sizes=(6, 5), n=400):
    source = np.random.default_rng(0)
    shared = source.normal(size=(n, 2)) * [2.0, 1.0]
    return [shared @ source.normal(size=(2, d)) + source.normal(size=(n, d)) for d in sizes]


def tensors(arrays):
    return [torch.from_numpy(array) for array in arrays]


def shared_by(data, weights):
    return float(canonical_correlations(*tensors([x @ w for x, w in zip(data, weights, strict=True)])).sum())


def test_closed_forms_agree():
    data = views()
    theirs = zoo.CCA(2).fit(data)
    found = closed_form_cca(tensors(data), 2)
    assert shared_by(data, theirs.weights_) == pytest.approx(float(found.eigenvalues.sum()), abs=1e-9)
    cross = np.cov(np.hstack(data).T)[:6, 6:]
    left, right = (np.linalg.qr(weight)[0] for weight in zoo.PLS(2).fit(data).weights_)
    captured = np.linalg.svd(left.T @ cross @ right, compute_uv=False)
    np.testing.assert_allclose(closed_form_cca(tensors(data), 2, ridge=1.0).eigenvalues, captured, rtol=1e-8)


def test_both_eckart_young_losses_have_one_minimiser():
    from cca_zoo.linear.gradient import CCAEY

    data = views()
    theirs = CCAEY(2, random_state=0, tol=1e-14).fit(data)
    best = float(closed_form_cca(tensors(data), 2).eigenvalues.sum())
    assert shared_by(data, theirs.weights_) == pytest.approx(best, abs=1e-5)
    fitted = StochasticCCA(2, batch_size=400, epochs=500, lr=0.05).fit(data)
    assert shared_by(data, fitted.weights_) == pytest.approx(best, abs=1e-5)
