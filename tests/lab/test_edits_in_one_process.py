"""Files that are edited while their old code is still imported."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.core import InvalidInputError
from assay.lab import Run, run_study

HELPERS = str(Path(__file__).parents[1])
STUDY = """
from helpers.lab_demo import make_study

def cell(x):
    return 2.0 * x

def experiment(settings, lab):
    lab.measure("C1", lab.map(cell, [1, 2, 3], name="cells"), what="values")

STUDY = make_study(experiment)
"""
READ_BACK = """
import sys
sys.path[:0] = {paths!r}
import edited_study
from assay.lab import run_study

run = run_study(edited_study.STUDY, out={out!r})
print(run.log["cells_computed"], *run.evidence[0].values)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a study that can be imported as `edited_study`, here and by workers."""
    file = tmp_path / "edited_study.py"
    file.write_text(STUDY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield file
    sys.modules.pop("edited_study", None)


def run(folder: Path, jobs: int = 1) -> Run:
    return run_study(importlib.import_module("edited_study").STUDY, out=folder / "runs", jobs=jobs)


def test_an_edit_without_a_reload_is_refused_and_leaves_no_wrong_cell(file: Path, tmp_path: Path) -> None:
    assert run(tmp_path).evidence[0].values == (2.0, 4.0, 6.0)
    file.write_text(STUDY.replace("2.0 *", "30.0 *"))
    with pytest.raises(InvalidInputError, match="was edited after it was imported"):
        run(tmp_path)
    program = READ_BACK.format(paths=[str(tmp_path), HELPERS], out=str(tmp_path / "runs"))
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == ["3", "30.0", "60.0", "90.0"]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_reloaded_module_computes_with_its_new_code(file: Path, tmp_path: Path, jobs: int) -> None:
    assert run(tmp_path, jobs).evidence[0].values == (2.0, 4.0, 6.0)
    file.write_text(STUDY.replace("2.0 *", "30.0 *"))
    importlib.reload(sys.modules["edited_study"])
    assert run(tmp_path, jobs).evidence[0].values == (30.0, 60.0, 90.0)
