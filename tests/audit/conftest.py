"""What the tests of the audit share."""

import sys
from functools import partial

import numpy as np
import pytest
from safetensors.torch import save_file

from assay.audit import Context, load_subject, run_audit
from assay.audit import probes as registry
from assay.reconstruction import KKTReconstructor
from helpers.stand_ins import small_network

FACTORY = """
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))

def not_a_network():
    return "a string"

def raises():
    raise KeyError("no such thing")

def exits():
    raise SystemExit(0)
"""


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
    return Context(seed=0, seconds=600)  # what a loaded machine cannot do in time is not what most tests are about


@pytest.fixture(scope="session")
def quick_attack():
    """Give reconstruction, membership and robustness a part of their effort: 8 x 8 images can do with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "assay.audit.probes.reconstruction.KKTReconstructor",
            partial(KKTReconstructor, n_candidates=40),
        )
        patch.setattr("assay.audit.probes.reconstruction._RESTARTS", 4)
        patch.setattr("assay.audit.probes.reconstruction._STEPS", 800)
        patch.setattr("assay.audit.known_start._STEPS", 100)
        patch.setattr("assay.audit.probes.membership._SHADOWS", 10)
        patch.setattr("assay.audit.probes.robustness._QUERIES", 1)
        yield


@pytest.fixture(scope="session")
def digits_audit(digits, tmp_path_factory, quick_attack):
    """The whole audit of the built-in digits: every real probe, once for all tests."""
    return run_audit(digits, out=tmp_path_factory.mktemp("digits") / "audit", minutes=60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a factory, healthy weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "factories.py").write_text(FACTORY)
    save_file(small_network().state_dict(), tmp_path / "weights.safetensors")
    draw = np.random.default_rng(0)
    arrays = {"x": draw.random((5, 1, 4, 4), np.float32), "y": np.array([0, 1, 2, 0, 1])}
    np.savez(tmp_path / "data.npz", **arrays)
    np.savez(
        tmp_path / "both.npz", x_train=arrays["x"], y_train=arrays["y"], x_test=arrays["x"][:2], y_test=arrays["y"][:2]
    )
    yield tmp_path
    for name in ("factories", "images", "scaled", "single"):
        sys.modules.pop(name, None)
