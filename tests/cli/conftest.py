import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from assay.audit import Figure, Finding, Picture, Probe
from assay.audit import probes as registry
from helpers.command_line import FACTORY, SUBJECT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a subject, a factory, weights and data, each in order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SUBJECT)
    (tmp_path / "factories.py").write_text(FACTORY)
    weights = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
    save_file(weights, "weights.safetensors")
    torch.save(weights, "weights.pt")
    np.savez("data.npz", x=np.full((4, 1, 4, 4), 0.5, np.float32), y=np.array([0, 1, 2, 0]))
    yield tmp_path
    sys.modules.pop("factories", None)


@pytest.fixture
def quick_probe(monkeypatch):
    """Replace the probes by one that answers at once; returns the function that sets its answer."""

    def answer_with(severity="low", error=None):
        def run(subject, context):
            if error is not None:
                raise error
            figure = Figure(
                (Picture("dot", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg", alt="A dot"),), "A dot"
            )
            return Finding(headline="One.", severity=severity, rule="By decree.", advice="Rest.", figures=(figure,))

        monkeypatch.setattr(registry, "names", lambda: ["only"])
        monkeypatch.setattr(registry, "load", lambda name: Probe("only", "Well?", "training", frozenset(), run))

    answer_with()
    return answer_with
