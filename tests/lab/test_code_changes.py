"""What a change of code does to a finished run: nothing old is read as new, nothing is computed needlessly."""

import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import assay
from assay.lab import Run, Study, older_methods, read_records, record, run_study, stale

FILES = {
    "__init__.py": "",
    "helper.py": '''
        """A helper."""
        SCALE = 2.0
        ''',
    "cells.py": """
        from NAME.helper import SCALE
        from assay.core import seeded
        def prepare(n):
            return [SCALE * k for k in range(n)]
        def cell(item):
            return SCALE * item
        """,
    "figures.py": """
        from matplotlib.figure import Figure
        def draw(values):
            figure = Figure()
            figure.subplots().set(title="first")
            return figure
        """,
    "study.py": """
        from dataclasses import dataclass
        from functools import partial
        from assay.lab import Claim, Lab, Paper, Study
        from NAME.cells import cell, prepare
        from NAME.figures import draw

        @dataclass(frozen=True)
        class Settings:
            n: int = 3

        CAPTION = "first"
        STUDY = Study("written", Paper("On", "A", 2024), {"C1": Claim("It is large", ours=True)}, {"small": Settings()})

        @STUDY.experiment
        def run(settings, lab):
            items = lab.cached("items", partial(prepare, settings.n))
            values = lab.map(cell, items, name="values")
            lab.measure("C1", values[-1], what="largest", at_least=1.0)
            lab.figure("drawn", draw(values), caption=CAPTION)
        """,
}
COUNTER = itertools.count()


class Written:
    """A study's package that is edited between two runs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"written_{next(COUNTER)}"
        for file, text in FILES.items():
            path = folder / self.name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("NAME", self.name))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / self.name / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    @property
    def study(self) -> Study:
        for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module(f"{self.name}.study").STUDY

    def run(self) -> Run:
        return run_study(self.study, out=self.folder / "runs")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # its time stamps are too coarse for two edits in a second
    package = Written(tmp_path)
    first = package.run()
    assert counts(first) == (0, 4)
    assert first.evidence[0].values == (8.0,)
    assert package.run().resumed
    return package


def counts(run: Run) -> tuple[int, int]:
    """How many cells and cached values were read, and how many computed."""
    return run.log["cells_read"], run.log["cells_computed"]


def test_a_changed_helper_computes_again(written: Written) -> None:
    written.edit("helper.py", "2.0", "3.0")
    run = written.run()
    assert not run.resumed
    assert counts(run) == (0, 4)
    assert run.evidence[0].values == (18.0,)


def test_a_change_that_is_taken_back_finds_its_cells_again(written: Written) -> None:
    written.edit("helper.py", "2.0", "3.0")
    written.run()
    written.edit("helper.py", "3.0", "2.0")
    assert counts(written.run()) == (4, 0)


@pytest.mark.parametrize(("old", "new"), [('"first"', '"second"'), ("at_least=1.0", "at_least=9.0")])
def test_a_changed_caption_or_bar_computes_nothing_and_is_seen(written: Written, old: str, new: str) -> None:
    written.edit("study.py", old, new)
    run = written.run()
    assert not run.resumed
    assert counts(run) == (4, 0)
    assert (run.figures[0]["caption"], run.verdicts["C1"]) in {("second", "holds"), ("first", "fails")}


def test_a_changed_comment_or_docstring_is_read_back(written: Written) -> None:
    written.edit("helper.py", "A helper.", "A reworded helper.")
    written.edit("cells.py", "return SCALE * item", "return SCALE * item  # why")
    written.edit("study.py", "CAPTION =", "\n# why\nCAPTION =")
    assert written.run().resumed


def test_a_changed_figure_is_drawn_without_computing(written: Written) -> None:
    source = dict(written.run().log["source"])
    written.edit("figures.py", '"first"', '"second"')
    run = written.run()
    assert not run.resumed
    assert counts(run) == (4, 0)
    assert {kind for kind in source if source[kind] != run.log["source"][kind]} == {"figures"}
    assert written.run().resumed


def test_a_changed_method_computes_again(tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(Path(assay.__file__).parent, library / "assay", ignore=shutil.ignore_patterns("__pycache__"))
    package = Written(tmp_path)
    program = (
        f"import json; from {package.name}.study import STUDY; from assay.lab import run_study; "
        "run = run_study(STUDY, out='runs'); print(json.dumps([run.resumed, run.log]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(library), str(tmp_path)])}

    def run() -> tuple[bool, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return tuple(json.loads(done.stdout.splitlines()[-1]))

    _, first = run()
    seeding = library / "assay" / "core" / "seeding.py"
    assert "seeded" in seeding.read_text()
    seeding.write_text(seeding.read_text() + "\nADDED = 1\n")
    resumed, second = run()
    assert not resumed
    assert (second["cells_read"], second["cells_computed"]) == (0, 4)
    assert first["source"]["study"] == second["source"]["study"]
    assert first["source"]["methods"] != second["source"]["methods"]


def kept(written: Written) -> dict[str, Any]:
    record(written.run(), written.folder / "records")
    (entry,) = read_records(written.folder / "records")
    return entry


def test_a_record_names_its_source_and_agrees_with_its_study(written: Written) -> None:
    entry = kept(written)
    assert entry["source"].keys() == {"study", "methods"}
    assert stale(entry, written.study) is None
    assert not older_methods(entry, written.study)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("study.py", "It is large", "It is larger", "claims and source changed"),
        ("study.py", "n: int = 3", "n: int = 4", "settings and source changed"),
        ("study.py", "at_least=1.0", "at_least=2.0", "source changed"),
        ("helper.py", "2.0", "3.0", "source changed"),
    ],
)
def test_a_record_that_its_study_has_left_behind_is_stale(
    written: Written, file: str, old: str, new: str, words: str
) -> None:
    entry = kept(written)
    written.edit(file, old, new)
    assert words in str(stale(entry, written.study))
    assert "re-run `assay study written --scale small`" in str(stale(entry, written.study))
    assert not older_methods(entry, written.study)


@pytest.mark.parametrize("edit", [lambda package: package.edit("figures.py", "first", "second"), lambda package: None])
def test_a_record_from_older_methods_says_so(written: Written, edit: Callable[[Written], None]) -> None:
    entry = kept(written)
    edit(written)
    older = {**entry, "source": {**entry["source"], "methods": "0" * 12}}
    assert stale(older, written.study) is None
    assert older_methods(older, written.study)
