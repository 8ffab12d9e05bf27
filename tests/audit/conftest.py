"""What the tests of the audit share."""

from functools import partial

import pytest

from assay.audit import Context, load_subject, run_audit
from assay.audit import probes as registry
from assay.reconstruction import KKTReconstructor


@pytest.fixture
def with_probes(monkeypatch):
    """Return a function that replaces the registry's probes by stand-ins for one test."""

    def replace(*stand_ins):
        table = {probe.name: probe for probe in stand_ins}
        monkeypatch.setattr(registry, "names", lambda: list(table))
        monkeypatch.setattr(registry, "load", table.__getitem__)

    return replace


@pytest.fixture(scope="session")
def digits():
    return load_subject("digits")


@pytest.fixture
def context():
    return Context(seed=0)


@pytest.fixture(scope="session")
def quick_attack():
    """Give the reconstruction and membership a part of their effort: 8 x 8 images can do with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "assay.audit.probes.reconstruction.KKTReconstructor",
            partial(KKTReconstructor, n_restarts=4, n_candidates=40, n_iter=800),
        )
        patch.setattr("assay.audit.probes.membership._SHADOWS", 10)
        yield


@pytest.fixture(scope="session")
def digits_audit(digits, tmp_path_factory, quick_attack):
    """The whole audit of the built-in digits: every real probe, once for all tests."""
    return run_audit(digits, out=tmp_path_factory.mktemp("digits") / "audit")
