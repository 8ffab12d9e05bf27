import sys
from pathlib import Path
from typing import Any

import pytest

from assay.core import MissingExtraError
from assay.lab import Lab, run_study
from helpers.lab_demo import Settings, make_study


def run(out: Path, backend: str, jobs: int) -> Any:
    marks = out / "marks"
    marks.mkdir(parents=True)

    # Defined here so that it is sent by value: a cluster's workers cannot import this file.
    def cell(seed: int) -> Any:
        import torch

        if seed == 2 and not (marks / "seen").exists():
            (marks / "seen").touch()
            raise ValueError("the first time only")
        draws = torch.randn(50, 50, generator=torch.Generator().manual_seed(seed))
        return {"spectrum": torch.linalg.eigvalsh(draws @ draws.T)}

    def experiment(settings: Settings, lab: Lab) -> None:
        rows = lab.map(cell, range(4), name="cells")
        lab.measure("C1", [row["spectrum"][-1] for row in rows], what="largest", at_least=10.0)
        lab.measure("C2", [row["spectrum"][0] for row in rows], what="smallest", at_most=10.0)

    return run_study(make_study(experiment), out=out / "runs", backend=backend, jobs=jobs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(tmp_path_factory.mktemp("alone"), "loky", 1)


def check(other: Any, alone: Any) -> None:
    assert other.evidence == alone.evidence
    assert [failure["cell"] for failure in other.log["failed_cells"]] == [2]
    assert "the first time only" in other.log["failed_cells"][0]["traceback"]
    cells = [sorted((result.folder / "cells").iterdir()) for result in (other, alone)]
    items = [[path.stem.rpartition("-")[0] for path in paths] for paths in cells]  # `cell` carries each run's folder
    assert items[0] == items[1]
    assert [path.read_bytes() for path in cells[0]] == [path.read_bytes() for path in cells[1]]


def test_two_processes_bring_the_evidence_of_one(tmp_path: Path, alone: Any) -> None:
    check(run(tmp_path, "loky", 2), alone)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
def test_dask_brings_the_evidence_of_one_process(tmp_path: Path, alone: Any) -> None:
    pytest.importorskip("distributed")
    check(run(tmp_path, "dask", 2), alone)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
def test_ray_brings_the_evidence_of_one_process(tmp_path: Path, alone: Any) -> None:
    ray = pytest.importorskip("ray")
    check(run(tmp_path, "ray", 2), alone)
    assert not ray.is_initialized()  # what was started is stopped


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"assay\[{backend}\]"):
        run(tmp_path, backend, 2)
