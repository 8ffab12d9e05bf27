"""The lime package as oracle of the surrogate; skipped where it is not installed."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from assay.attribution.disparities import LimeBackend, LocalSurrogate
from assay.core import InvalidInputError, MissingExtraError

X = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 3.0, 0.5]
X[:, 2] = X[:, 2] > 0


def curved(z):
    return 1 / (1 + np.exp(-np.sin(2 * z[:, 0]) - 0.2 * z[:, 1] * (1 + z[:, 2])))


@pytest.mark.parametrize("center", ["sample", "mean"])
def test_the_package_and_the_surrogate_agree_up_to_their_draws(center):
    pytest.importorskip("lime")
    options = {"categorical": [2], "center": center}
    rows = X[:6]
    theirs = LimeBackend(20_000, **options).fit(X).explain(curved, rows)
    first, second = (LocalSurrogate(20_000, random_state=s, **options).fit(X).explain(curved, rows) for s in (1, 2))
    for name in ("coef", "intercept", "local_prediction", "score"):
        noise = np.sqrt(np.mean((getattr(first, name) - getattr(second, name)) ** 2))
        difference = np.sqrt(np.mean((getattr(first, name) - getattr(theirs, name)) ** 2))
        assert difference < 3 * noise
    np.testing.assert_allclose(theirs.model_prediction, curved(rows))
    np.testing.assert_allclose(theirs.effective_samples, first.effective_samples, rtol=0.05)


def test_the_packages_explanations_do_not_depend_on_the_order():
    pytest.importorskip("lime")
    fitted = LimeBackend(100, categorical=[2]).fit(X)
    assert np.array_equal(fitted.explain(curved, X[:5]).coef, fitted.explain(curved, X[4::-1]).coef[::-1])


def test_without_the_package_its_extra_is_named():
    fitted = LimeBackend(20).fit(X)
    try:
        import lime  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"assay\[lime\]"):
            fitted.explain(curved, X)
    else:
        with pytest.raises(InvalidInputError, match="one label"):
            fitted.explain(curved, X, label=np.ones(len(X), dtype=int))


def test_keeps_all_of_scikit_learns_checks():
    results = check_estimator(LimeBackend(20), on_fail=None, on_skip=None)
    failed = [str(result["exception"]) for result in results if result["status"] == "failed"]
    # Arguments of the wrong type, which one check passes to the constructor, are refused only while the tests run.
    assert [why for why in failed if "typechecking parameter 'center'" not in why] == []
    assert len(results) - len(failed) > 30
