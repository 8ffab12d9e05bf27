import json
from pathlib import Path

import pytest

from assay.core import InvalidInputError
from assay.lab import Run, read_records, record, run_study
from helpers.lab_demo import make_study
from helpers.lab_runs import CLAIMS, METHODS, bring_everything


def test_a_record_is_stable_and_names_no_one(finished: Run, tmp_path: Path) -> None:
    path = record(finished, tmp_path)
    text = path.read_text()
    assert path.name == "demo.json"
    assert (tmp_path / "demo-success.svg").is_file()
    state = json.loads(text)
    assert list(state) == sorted(state)
    assert [claim["verdict"] for claim in state["claims"]] == [
        "holds", "fails", "undecided", "not tested at this scale", "reported"
    ]  # fmt: skip
    assert state["claims"][0]["paper"] == "Table 2: 62.1 %"
    assert [claim["ours"] for claim in state["claims"]] == [False, True, False, False, False]
    assert state["methods"] == list(METHODS)
    assert str(finished.folder) not in text
    assert record(finished, tmp_path).read_text() == text
    assert read_records(tmp_path) == [state]


def test_a_new_record_removes_the_figures_that_it_no_longer_has(finished: Run, tmp_path: Path) -> None:
    record(finished, tmp_path)
    (tmp_path / "demo-2.svg").write_text("another study's")
    bare = run_study(make_study(lambda settings, lab: None), out=tmp_path / "runs")
    record(bare, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["demo-2.svg", "demo.json"]


def test_only_small_runs_make_records(tmp_path: Path) -> None:
    run = run_study(make_study(bring_everything, claims=CLAIMS), scale="smoke", out=tmp_path)
    with pytest.raises(InvalidInputError, match="--scale small"):
        record(run, tmp_path / "records")
    assert not (tmp_path / "records").exists()
