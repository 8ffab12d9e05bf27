"""What the tests of records and of the gallery share."""

import pytest

from assay.lab import Run, run_study
from helpers.lab_demo import make_study
from helpers.lab_runs import CLAIMS, METHODS, bring_everything


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with evidence of every verdict, on a machine without data sets."""
    study = make_study(bring_everything, claims=CLAIMS, methods=METHODS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_DATA", str(tmp_path_factory.mktemp("no-data")))
        return run_study(study, out=tmp_path_factory.mktemp("runs"))
