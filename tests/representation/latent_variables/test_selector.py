import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from assay.representation import ActiveVariableSelector

VARIANCES = np.array([[0.02, 1.0, 0.02], [0.03, 0.99, 1.0]])


@parametrize_with_checks([ActiveVariableSelector()])
def test_scikit_learns_own_checks(estimator, check) -> None:
    check(estimator)


def test_passive_variables_are_dropped_and_mixed_ones_on_request() -> None:
    means = np.arange(6.0).reshape(2, 3)
    selector = ActiveVariableSelector().fit(VARIANCES)
    np.testing.assert_array_equal(selector.transform(means), means[:, [0, 2]])
    np.testing.assert_array_equal(selector.get_support(), [True, False, True])
    only = ActiveVariableSelector(keep_mixed=False).fit(VARIANCES)
    np.testing.assert_array_equal(only.transform(means), means[:, [0]])


def test_negative_variances_are_refused_and_means_are_not() -> None:
    with pytest.raises(ValueError, match="sigma squared"):
        ActiveVariableSelector().fit(-VARIANCES)
    fitted = make_pipeline(FunctionTransformer(), ActiveVariableSelector()).fit(VARIANCES)
    assert fitted.transform(-VARIANCES).shape == (2, 2)
