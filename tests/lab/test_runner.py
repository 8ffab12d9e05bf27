import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assay.core import AssayError, InvalidInputError
from assay.lab import Lab, Run, run_study
from assay.lab.evidence import NOT_REACHED
from helpers.lab_demo import Settings, log_call, make_study, measure_draws

PROGRAM = """
import sys, time
from pathlib import Path

sys.path.insert(0, {helpers!r})
from helpers.lab_demo import draw, log_call, make_study

from assay.lab import run_study

SIDE = Path(__file__).parent


def cell(seed):
    log_call(SIDE / "log", seed)
    while seed == 3 and (SIDE / "block").exists():
        (SIDE / "blocked").touch()
        time.sleep(0.02)
    return draw(seed)


def experiment(settings, lab):
    weight = lab.cached("weight", lambda: log_call(SIDE / "log", "weight"))
    rows = lab.map(cell, range(6), name="cells")
    lab.measure("C1", [weight * float(row["draws"].mean()) for row in rows], what="mean draw", at_least=0.1)
    lab.measure("C2", 0.5, what="a point", at_most=1.0)


STUDY = make_study(experiment)

if __name__ == "__main__":
    run_study(STUDY, out=SIDE / "runs")
"""


def test_a_killed_run_resumes_where_it_was(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(helpers=str(Path(__file__).parents[1])))
    (tmp_path / "block").touch()
    process = subprocess.Popen([sys.executable, program])
    deadline = time.monotonic() + 120
    while not (tmp_path / "blocked").exists():
        assert process.poll() is None, "the program ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)

    study = runpy.run_path(str(program))["STUDY"]
    with pytest.raises(AssayError, match=f"process {process.pid} is writing"):
        run_study(study, out=tmp_path / "runs")

    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "block").unlink()
    (state,) = tmp_path.glob("runs/*/run.json")
    assert json.loads(state.read_text())["status"] == "running"

    resumed = run_study(study, out=tmp_path / "runs")
    # Cell 3 was under way when the process was killed; all before it were kept, and none was computed twice.
    assert (tmp_path / "log").read_text().split() == ["weight", "0", "1", "2", "3", "3", "4", "5"]
    assert not resumed.resumed
    assert resumed.log["sessions"] == 2

    (tmp_path / "log").unlink()
    unbroken = run_study(study, out=tmp_path / "unbroken")
    assert unbroken.log["sessions"] == 1
    assert resumed.evidence == unbroken.evidence
    assert resumed.verdicts == unbroken.verdicts == {"C1": "holds", "C2": "holds"}


def test_a_finished_run_is_read_back(tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    def experiment(settings: Settings, lab: Lab) -> None:
        log_call(calls, "run")
        measure_draws(settings, lab)

    study, runs = make_study(experiment), tmp_path / "runs"
    first = run_study(study, out=runs)
    second = run_study(study, out=runs)
    assert (log_call(calls, "run"), first.resumed, second.resumed) == (2, False, True)
    assert second.evidence == first.evidence
    assert second.log == first.log
    run_study(study, out=runs, seed=1)
    assert log_call(calls, "run") == 4
    assert len(list(runs.iterdir())) == 2


class Opaque:
    """Something without a stable digest."""


@pytest.mark.parametrize(("first", "second"), [(1.0, 2.0), (Opaque(), Opaque())])
def test_an_experiment_that_carries_something_else_runs_again(tmp_path: Path, first: Any, second: Any) -> None:
    def of(carried: Any) -> Run:
        def experiment(settings: Settings, lab: Lab) -> None:
            lab.measure("C1", carried if isinstance(carried, float) else id(carried), what="what it carries")

        return run_study(make_study(experiment), out=tmp_path)

    assert of(first).evidence != of(second).evidence


def test_fresh_forgets_what_was_computed(tmp_path: Path) -> None:
    counts = tmp_path / "counts"

    def experiment(settings: Settings, lab: Lab) -> None:
        lab.measure("C1", lab.cached("count", lambda: log_call(counts, "made")), what="how often it was made")

    study = make_study(experiment)
    for fresh in (False, False, True):
        run = run_study(study, out=tmp_path / "runs", fresh=fresh)
    assert run.evidence[0].values == (2.0,)
    assert run.log["sessions"] == 1


def test_a_claim_that_was_not_reached_says_so(tmp_path: Path) -> None:
    def experiment(settings: Settings, lab: Lab) -> None:
        lab.measure("C1", 1.0, what="w", at_least=0.5)
        lab.measure("C1", [0.0, 1.0, 2.0], what="v", at_least=0.5)

    run = run_study(make_study(experiment), out=tmp_path)
    assert run.verdicts == {"C1": "undecided", "C2": "not tested at this scale"}
    assert run.evidence[-1].reason == NOT_REACHED


def test_an_experiment_that_raises_leaves_what_it_had(tmp_path: Path) -> None:
    def experiment(settings: Settings, lab: Lab) -> None:
        lab.measure("C1", 1.0, what="w", at_least=0.5)
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        run_study(make_study(experiment), out=tmp_path)
    (folder,) = tmp_path.iterdir()
    state = json.loads((folder / "run.json").read_text())
    assert state["status"] == "failed"
    assert "ZeroDivisionError: here" in state["error"]
    assert len(json.loads((folder / "evidence.json").read_text())["evidence"]) == 1


def test_the_log_says_what_was_run_and_on_what(tmp_path: Path) -> None:
    log = run_study(make_study(measure_draws), out=tmp_path, scale="smoke", seed=3).log
    assert log["settings"] == {"seeds": 2, "widths": [4, 8], "rate": 0.1}
    assert (log["scale"], log["seed"], log["device"], log["status"]) == ("smoke", 3, "cpu", "complete")
    assert log["versions"].keys() >= {"assay", "torch", "python"}
    assert log["machine"]["cpu_cores"] == os.cpu_count()
    assert 0 <= log["timings"]["cpu_seconds"] < 60
    assert log["peak_memory_mb"] > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "paper"}, "no scale 'paper'"),
        ({"backend": "spark"}, "choose one of loky, dask, ray"),
        ({"jobs": 0}, "give 1 or more"),
        ({"address": "tcp://here"}, "--backend dask or ray"),
        ({"device": "abacus"}, "--device cpu"),
        ({"device": "cuda:99"}, "--device cpu"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_study(make_study(measure_draws), out=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
