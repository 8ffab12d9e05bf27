import json
from pathlib import Path

import pytest

from assay.core import InvalidInputError
from assay.lab import Run, read_records, record, rejudge, rewrite, run_study
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


def test_a_record_of_today_is_judged_as_it_says(finished: Run, tmp_path: Path) -> None:
    path = record(finished, tmp_path)
    text = path.read_text()
    assert rejudge(read_records(tmp_path)[0]) == json.loads(text)
    assert rewrite(tmp_path) == {}
    assert path.read_text() == text


def test_a_record_of_an_earlier_rule_is_judged_by_todays_from_its_values(finished: Run, tmp_path: Path) -> None:
    path = record(finished, tmp_path)
    today = path.read_text()
    state = json.loads(today)
    state["claims"][0]["verdict"] = "undecided"
    state["evidence"][0] |= {"verdict": "undecided", "interval": None}
    state["evidence"][1]["verdict"] = "holds"
    path.write_text(json.dumps(state))
    assert rewrite(tmp_path, ["demo"]) == {path: ["C1: undecided -> holds"]}
    assert path.read_text() == today
    with pytest.raises(InvalidInputError, match="no record of another"):
        rewrite(tmp_path, ["another"])


def test_a_record_without_other_tests_is_read(finished: Run, tmp_path: Path) -> None:
    state = json.loads(record(finished, tmp_path).read_text())
    for piece in state["evidence"]:
        assert set(piece) == {"claim", "what", "values", "interval", "bar", "verdict", "reason"}
    assert "looks" not in state
