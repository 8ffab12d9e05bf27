import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from assay.representation import ActiveVariableSelector

VARIANCES = np.array([[0.02, 1.0, 0.02], [0.03, 0.99, 1.0]])


def test_passes_the_checks_of_scikit_learn() -> None:
    results = check_estimator(ActiveVariableSelector(), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    reasons = {name: str(error.__cause__ or error.__context__ or error) for name, error in failed.items()}
    # Arguments of the wrong type, which two checks pass to the constructor, are refused only while the tests run.
    assert {name: why for name, why in reasons.items() if "typechecking parameter" not in why} == {}
    assert len(results) - len(failed) > 30


def test_passive_variables_are_dropped_and_mixed_ones_on_request() -> None:
    means = np.arange(6.0).reshape(2, 3)
    selector = ActiveVariableSelector().fit(VARIANCES)
    np.testing.assert_array_equal(selector.transform(means), means[:, [0, 2]])
    np.testing.assert_array_equal(selector.get_support(), [True, False, True])
    only = ActiveVariableSelector(keep_mixed=False).fit(VARIANCES)
    np.testing.assert_array_equal(only.transform(means), means[:, [0]])


def test_negative_variances_are_refused_and_means_are_not() -> None:
    with pytest.raises(ValueError, match="takes variances"):
        ActiveVariableSelector().fit(-VARIANCES)
    fitted = make_pipeline(FunctionTransformer(), ActiveVariableSelector()).fit(VARIANCES)
    assert fitted.transform(-VARIANCES).shape == (2, 2)
