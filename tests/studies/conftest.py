import fcntl
import os
from collections.abc import Callable
from functools import cache

import pytest

from assay.lab import Run, run_study
from assay.studies import load


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Run a study at ``smoke`` once a test session: `smoke_run(slug)` is the same run in all tests and workers.

    A test that changes the run's folder works on a copy.
    """
    base = tmp_path_factory.getbasetemp()
    runs = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke-runs"
    runs.mkdir(exist_ok=True)

    @cache
    def run(slug: str) -> Run:
        # The lab refuses a run that another process writes; a test waits for it, then reads it back.
        with open(runs / f"{slug}.turn", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            return run_study(load(slug), scale="smoke", out=runs)

    return run
