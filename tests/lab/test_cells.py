import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.lab import CellsFailedError, Lab
from helpers.lab_demo import draw, log_call
from helpers.lab_runs import run


def square(log: Path, item: int) -> int:
    log_call(log, item)
    return item**2


def fail_at_first(log: Path, item: int) -> int:
    if log_call(log, item) == 1 and item % 2:
        raise ValueError(f"item {item} is odd")
    return item


def fail_on_two(log: Path, item: int) -> int:
    log_call(log, item)
    if item == 2 and not (log.parent / "mended").exists():
        raise ValueError("two is too much")
    return item


def kill_worker_at_first(log: Path, item: int) -> int:
    if log_call(log, item) == 1 and item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_cached_value_has_one_form_fresh_or_not(tmp_path: Path) -> None:
    seen: list[Any] = []

    def body(lab: Lab) -> None:
        seen.append(lab.cached("pair", lambda: {"pair": (1, 2)}))
        seen.append(lab.cached("weights", lambda: {"w": torch.arange(6.0).reshape(2, 3).T})["w"])
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, body)
    resumed = run(tmp_path, body)
    assert seen[0] == seen[2] == {"pair": [1, 2]}
    assert torch.equal(seen[1], seen[3])
    assert resumed.log["sessions"] == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_map_keeps_the_order_and_computes_each_cell_once(tmp_path: Path, jobs: int) -> None:
    log = tmp_path / "log"
    seen: list[Any] = []

    def body(lab: Lab) -> None:
        seen.append(lab.map(partial(square, log), range(6), name="squares"))
        if len(seen) == 1:
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        run(tmp_path, body, jobs=jobs)
    run(tmp_path, body, jobs=jobs)
    assert seen == [[0, 1, 4, 9, 16, 25]] * 2
    assert sorted(log.read_text().split()) == list("012345")


def test_map_gives_the_same_tensors_for_one_process_and_two(tmp_path: Path) -> None:
    rows: list[Any] = []
    for jobs in (1, 2):
        run(tmp_path / str(jobs), lambda lab: rows.append(lab.map(draw, range(3), name="draws")), jobs=jobs)
    expected = [draw(seed) for seed in range(3)]
    for row in rows:
        assert all(torch.equal(a["draws"], b["draws"]) for a, b in zip(row, expected, strict=True))


def test_a_cell_computes_on_one_thread_and_the_caller_keeps_its_own(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        counts: list[int] = []
        run(tmp_path, lambda lab: counts.extend(lab.map(lambda _: torch.get_num_threads(), [0], name="n")))
        assert counts == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_cell_that_fails_is_computed_once_more(tmp_path: Path) -> None:
    values: list[Any] = []
    body = partial(fail_at_first, tmp_path / "log")
    finished = run(tmp_path, lambda lab: values.extend(lab.map(body, range(4), name="odd")))
    assert values == [0, 1, 2, 3]
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "1", "2", "3", "3"]
    failures = finished.log["failed_cells"]
    assert [failure["cell"] for failure in failures] == [1, 3]
    assert "ValueError: item 1 is odd" in failures[0]["traceback"]
    assert "fail_at_first" in failures[0]["traceback"]


def test_a_cell_that_fails_twice_ends_the_run_and_the_others_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    values: list[Any] = []

    def body(lab: Lab) -> None:
        values.extend(lab.map(partial(fail_on_two, log), range(4), name="cells"))

    with pytest.raises(
        CellsFailedError, match=r"1 of 4 cells of 'cells' failed twice: 2 \(ValueError: two is too much\)"
    ):
        run(tmp_path, body)
    (state,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")]
    assert state["status"] == "failed"
    assert len(state["failed_cells"]) == 2
    (tmp_path / "mended").touch()
    run(tmp_path, body)
    assert values == [0, 1, 2, 3]
    assert sorted(log.read_text().split()) == ["0", "1", "2", "2", "2", "3"]


@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    values: list[Any] = []
    body = partial(kill_worker_at_first, tmp_path / "log")
    finished = run(tmp_path, lambda lab: values.extend(lab.map(body, range(3), name="cells")), jobs=2)
    assert values == [0, 1, 2]
    (loss,) = finished.log["failed_cells"]
    assert loss["cell"] is None
    assert "TerminatedWorkerError" in loss["traceback"]


def test_a_corrupt_cell_is_computed_again(tmp_path: Path) -> None:
    values: list[Any] = []

    def body(lab: Lab) -> None:
        values.append(lab.map(partial(square, tmp_path / "log"), range(3), name="squares"))
        if len(values) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, body)
    (cell,) = (path for path in tmp_path.glob("*/cells/squares-*.json") if json.loads(path.read_text()) == 1)
    cell.write_text("")
    with pytest.warns(RuntimeWarning, match="corrupt"):
        run(tmp_path, body)
    assert values == [[0, 1, 4]] * 2
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "1", "2"]


def test_what_cannot_be_kept_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CellsFailedError, match="store tensors, arrays, numbers"):
        run(tmp_path, lambda lab: lab.map(lambda item: object(), [0], name="objects"))


def test_an_empty_map_is_an_empty_list(tmp_path: Path) -> None:
    values: list[Any] = []
    run(tmp_path, lambda lab: values.append(lab.map(draw, [], name="none")))
    assert values == [[]]
