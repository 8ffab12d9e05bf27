"""Every study at ``smoke``: each claim gets a verdict, and a second run computes nothing again."""

import importlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.lab import Run, run_study
from assay.lab.evidence import NOT_REACHED, SEVERITY
from assay.lab.store import Store
from assay.studies import methods, slugs, titles


@pytest.fixture(scope="module", params=slugs())
def run(request: pytest.FixtureRequest, smoke_run: Callable[[str], Run]) -> Run:
    return smoke_run(request.param)


def test_the_title_names_the_papers_year(run: Run) -> None:
    assert titles()[run.study.slug].rstrip(").").endswith(str(run.study.paper.year))


def test_every_scale_is_declared(run: Run) -> None:
    assert {"smoke", "small"} <= set(run.study.scales)


def test_every_claim_has_a_verdict(run: Run) -> None:
    assert list(run.verdicts) == list(run.study.claims)
    assert set(run.verdicts.values()) <= set(SEVERITY)
    assert [entry.claim for entry in run.evidence if entry.reason == NOT_REACHED] == []


def test_the_evidence_is_finite(run: Run) -> None:
    for entry in run.evidence:
        assert all(math.isfinite(value) for value in entry.values)
        assert entry.values or entry.reason


def test_the_methods_are_public_names(run: Run) -> None:
    for method in methods()[run.study.slug]:
        package, _, name = method.rpartition(".")
        assert name in importlib.import_module(f"assay.{package}").__all__


def test_no_cell_had_to_be_computed_twice(run: Run) -> None:
    assert run.log["failed_cells"] == []


def test_a_broken_off_run_resumes_without_computing_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the process had been killed after its last cell: the experiment runs again, on what is there.
    path = Path(shutil.copytree(run.folder, tmp_path / run.folder.name)) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))

    def refuse(store: Store, stem: Path, encoded: Any) -> None:
        raise AssertionError(f"{stem.name} was computed again")

    monkeypatch.setattr(Store, "keep", refuse)
    resumed = run_study(run.study, scale="smoke", out=tmp_path)
    assert not resumed.resumed
    assert resumed.evidence == run.evidence


def test_a_finished_run_is_read_back(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / run.folder.name)
    assert run_study(run.study, scale="smoke", out=tmp_path).resumed
