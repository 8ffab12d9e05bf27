"""Experiments for the lab's tests, and functions that run them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from assay.core import InvalidInputError
from assay.lab import Claim, Lab, Run, run_study
from helpers.lab_demo import Settings, make_study

CLAIMS = {
    "C1": Claim("a < b & c holds", paper="Table 2: 62.1 %"),
    "C2": Claim("It fails", ours=True),
    "C3": Claim("Undecided", paper="states no number"),
    "C4": Claim("Too large", paper="states no number"),
    "C5": Claim("A number", paper="states no number"),
}
METHODS = ("adversarial.MALT", "adversarial.attacks.APGD")


def bring_everything(settings: Settings, lab: Lab) -> None:
    """Bring evidence of every verdict, a figure, a table, and data sets that are here or not."""
    lab.data("digits")
    lab.data("cifar10", instead="digits")
    lab.data("mnist", instead=None)
    lab.measure("C1", [0.9, 0.91, 0.92], what="recall of <targets>", at_least=0.8)
    lab.measure("C2", 0.9, what="error", at_most=0.1)
    lab.measure("C3", [0.0, 1.0], what="rate", at_least=0.5)
    lab.measure("C4", untested="it needs a month")
    lab.measure("C5", [0.25, 0.5], what="gap")
    figure = Figure()
    figure.subplots().set(title="Success & failure", xlabel="x", ylabel="y")
    lab.figure("success", figure)
    lab.table("by-width", [{"width": 4, "loss": 0.123456}])


def run(tmp_path: Path, body: Callable[[Lab], object], **options: Any) -> Run:
    """Run the demo study at `small` with another experiment."""

    def experiment(settings: Settings, lab: Lab) -> None:
        body(lab)

    return run_study(make_study(experiment), scale="small", out=tmp_path, **options)


def refuse(tmp_path: Path, body: Callable[[Lab], object], message: str) -> None:
    """Require that the experiment is refused with a message."""
    with pytest.raises(InvalidInputError, match=message):
        run(tmp_path, body)
