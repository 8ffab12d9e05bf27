"""`assay study`, `assay list`, and what the command line says of itself."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import assay
from assay import studies
from assay.audit import probes as registry
from assay.cli import main
from helpers.command_line import PYTHON

RECORDS = Path(__file__).parents[2] / "records"


def test_report_shows_the_records_that_come_with_the_package(folder, capsys):
    assert main(["report"]) == 0
    assert capsys.readouterr().out == "gallery.html\n"
    assert "MALT Powers Up Adversarial Attacks" in (folder / "gallery.html").read_text()


def test_report_without_any_records_says_what_it_needs(folder, capsys, monkeypatch):
    monkeypatch.setattr("assay.__file__", str(folder / "src" / "assay" / "__init__.py"))
    assert main(["report"]) == 2
    assert capsys.readouterr().err.startswith("assay: there are no records to show: run `assay study SLUG`")
    assert main(["report", "--records", "elsewhere"]) == 2
    assert capsys.readouterr().err.startswith("assay: elsewhere holds no records")


def test_study_prints_each_claims_verdict_and_keeps_a_small_run(folder, capsys, monkeypatch):
    paper = SimpleNamespace(title="A Paper", year=2024)
    study = SimpleNamespace(slug="paper", paper=paper, claims={"C1": "It works", "C2": "It scales"})
    run = SimpleNamespace(
        verdicts={"C1": "holds", "C2": "fails"}, folder="runs/paper-small-1", study=study, planned=None
    )
    asked = {}
    monkeypatch.setattr("assay.studies.load", lambda slug: study)
    monkeypatch.setattr("assay.lab.runner.run_study", lambda study, **options: asked.update(options) or run)
    monkeypatch.setattr("assay.lab.records.record", lambda run, records: records / "paper.json")
    monkeypatch.setattr("assay.lab.study_page.write_study_page", lambda run: f"{run.folder}/report.html")
    (folder / "records").mkdir()
    assert main(["study", "paper", "--seed", "3", "--jobs", "2", "--backend", "dask", "--address", "tcp://a:1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "A Paper (2024)",
        "  C1  holds  It works",
        "  C2  fails  It scales",
        "records/paper.json",
        "runs/paper-small-1/report.html",
    ]
    chosen = ("scale", "seed", "jobs", "backend", "address")
    assert [asked[name] for name in chosen] == ["small", 3, 2, "dask", "tcp://a:1"]


def test_study_tells_the_looks_that_were_taken(folder, capsys, monkeypatch):
    paper = SimpleNamespace(title="A Paper", year=2024)
    study = SimpleNamespace(slug="paper", paper=paper, claims={"C1": "It works"})
    plan = SimpleNamespace(seeds=(5, 8, 12, 20))
    run = SimpleNamespace(verdicts={"C1": "holds"}, folder="runs/1", study=study, planned=plan, looks=(5, 8))
    monkeypatch.setattr("assay.studies.load", lambda slug: study)
    monkeypatch.setattr("assay.lab.runner.run_study", lambda study, **options: run)
    monkeypatch.setattr("assay.lab.study_page.write_study_page", lambda run: "report.html")
    assert main(["study", "paper", "--scale", "smoke"]) == 0
    assert "  2 of 4 planned looks: 8 of at most 20 seeds" in capsys.readouterr().out.splitlines()


def test_rejudge_runs_nothing_and_writes_what_changes(folder, capsys, monkeypatch):
    monkeypatch.setattr("assay.lab.runner.run_study", None)
    assert main(["study", "malt", "--rejudge"]) == 2
    assert "name their folder with --records" in capsys.readouterr().err
    stored = json.loads((RECORDS / "malt.json").read_text())
    (folder / "records").mkdir()
    path = folder / "records" / "malt.json"
    told = stored["claims"][0]["verdict"]
    stored["claims"][0]["verdict"] = "reported"
    path.write_text(json.dumps(stored))
    assert main(["study", "malt", "--rejudge"]) == 0
    assert capsys.readouterr().out == f"records/malt.json: C1: reported -> {told}\n"
    assert json.loads(path.read_text()) == json.loads((RECORDS / "malt.json").read_text())
    assert main(["study", "malt", "--rejudge"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("slugs", "message"), [(["nope"], "there is no study 'nope'"), ([], "name at least one study")]
)
def test_study_names_what_it_does_not_know(folder, capsys, slugs, message):
    assert main(["study", *slugs]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"assay {assay.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["audit", "--help"]])
def test_help_and_list_load_nothing_that_takes_long(arguments):
    slow = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "jaxtyping"}
    program = f"{PYTHON[: -len('sys.exit(main())')]}main(); print(*{slow} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_list_shows_what_a_study_tests_below_it(capsys, monkeypatch):
    monkeypatch.setattr("assay.studies.methods", lambda: dict.fromkeys(studies.slugs(), ("optim.Adam", "optim.SGD")))
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [number for number, line in enumerate(lines) if line.startswith("  malt ")]
    assert lines[line + 1].split() == ["optim.Adam,", "optim.SGD"]
    assert lines[line + 1].index("optim") == lines[line].index("MALT")


def test_list_names_every_study_probe_and_subject(capsys):
    from assay.audit.builtin import BUILT_IN

    assert main(["list"]) == 0
    out = capsys.readouterr().out
    names = [*studies.slugs(), *registry.names(), *BUILT_IN]
    assert all(f"  {name}  " in out for name in names)
    assert all(title in out for title in studies.titles().values())
