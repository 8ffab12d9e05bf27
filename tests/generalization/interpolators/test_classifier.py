import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from assay.core import NumericalError
from assay.generalization import RandomInterpolatorClassifier

X = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])


def test_fits_every_training_label_and_counts_its_guesses():
    fitted = RandomInterpolatorClassifier(random_state=3).fit(X, ["b", "a", "a", "b"])
    assert fitted.predict(X).tolist() == ["b", "a", "a", "b"]
    with pytest.raises(NumericalError, match="0 of 1 networks"):
        RandomInterpolatorClassifier(random_state=3, max_guesses=fitted.n_guesses_ - 1).fit(X, [1, 0, 0, 1])


def test_fails_the_checks_of_scikit_learn_only_where_no_network_fits():
    results = check_estimator(RandomInterpolatorClassifier(max_guesses=2000), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    reasons = {name: str(error.__cause__ or error.__context__ or error) for name, error in failed.items()}
    # Arguments of the wrong type, which two checks pass to the constructor, are refused only while the tests run.
    expected = ("0 of 1 networks found", "typechecking parameter 'hidden'")
    assert {name: why for name, why in reasons.items() if not any(part in why for part in expected)} == {}
    assert len(results) - len(failed) > 30
