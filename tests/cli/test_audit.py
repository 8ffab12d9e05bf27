"""`assay audit`, and `assay report` on a past audit."""

import json

import pytest

from assay.audit import Finding, Probe
from assay.audit import probes as registry
from assay.cli import main


def test_the_report_is_the_last_line_of_stdout(folder, capsys):
    assert main(["audit", "mine.py", "--probe", "curvature", "--probe", "robustness", "--out", "audit"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "audit/report.html"
    assert "[2/2] How easily" in err
    facts = json.loads((folder / "audit" / "findings.json").read_text())
    assert {finding["probe"] for finding in facts["findings"]} == {"curvature", "robustness"}


def test_a_factory_with_weights_and_data_is_audited(folder, quick_probe, capsys):
    arguments = ["--weights", "weights.safetensors", "--train", "data.npz"]
    assert main(["audit", "factories:network", *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "assay-audit/weights-1/report.html"


@pytest.mark.parametrize(
    ("severity", "level", "code"),
    [("medium", "never", 0), ("medium", "high", 0), ("medium", "medium", 1), ("medium", "low", 1), ("high", "low", 1)],
)
def test_fail_on_sets_the_exit_code(folder, quick_probe, severity, level, code):
    quick_probe(severity)
    assert main(["audit", "mine.py", "--fail-on", level]) == code


@pytest.mark.parametrize(("level", "code"), [("never", 0), ("high", 3)])
@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(0)])
def test_a_gate_does_not_pass_because_a_probe_broke(folder, quick_probe, capsys, level, code, error):
    quick_probe(error=error)
    assert main(["audit", "mine.py", "--fail-on", level]) == code
    reason = f"--fail-on high cannot be decided: only failed ({type(error).__name__}: {error})"
    assert (reason in capsys.readouterr().err) == (level == "high")


def test_a_gate_says_which_finding_stopped_it(folder, quick_probe, capsys):
    quick_probe("high")
    assert main(["audit", "mine.py", "--fail-on", "low"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "assay: --fail-on low: only is high"


def test_findings_come_on_stderr_as_each_probe_ends_and_sorted_on_stdout(folder, capsys, monkeypatch):
    severities = {"first": "info", "second": "high", "third": "low"}
    came = []

    def load(name):
        def run(subject, context):
            came.append(capsys.readouterr().err.splitlines()[-2:])
            return Finding(headline=f"{name}.", severity=severities[name], rule="By decree.", advice="Rest.")

        return Probe(name, f"Is it {name}?", "training", frozenset(), run)

    monkeypatch.setattr(registry, "names", lambda: list(severities))
    monkeypatch.setattr(registry, "load", load)
    assert main(["audit", "mine.py", "--out", "audit"]) == 0
    assert came[1:] == [  # each with its time: the nine minutes that are left, in equal shares
        ["  info        first: first.", "[2/3] Is it second? (up to 270 s)"],
        ["  high        second: second.", "[3/3] Is it third? (up to 540 s)"],
    ]
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[-4:]] == [
        "high        second: second.",
        "low         third: third.",
        "info        first: first.",
        "audit/report.html",
    ]
    facts = json.loads((folder / "audit" / "findings.json").read_text())
    assert [finding["probe"] for finding in facts["findings"]] == ["second", "third", "first"]


def test_an_interrupted_audit_writes_its_report_and_exits_with_130(folder, quick_probe, capsys):
    quick_probe(error=KeyboardInterrupt())
    assert main(["audit", "mine.py", "--out", "audit"]) == 130
    assert "The audit was interrupted; this page shows" in (folder / "audit" / "report.html").read_text()


def test_a_past_audit_is_rendered_again_byte_for_byte(folder, quick_probe):
    main(["audit", "mine.py", "--out", "audit"])
    page = (folder / "audit" / "report.html").read_bytes()
    (folder / "audit" / "report.html").unlink()
    assert main(["report", "audit"]) == 0
    assert (folder / "audit" / "report.html").read_bytes() == page
    assert main(["report", "audit", "--out", "copy.html"]) == 0
    assert (folder / "copy.html").read_bytes() == page


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda audit: (audit / "findings.json").unlink(), "give the folder that an audit wrote"),
        (lambda audit: (audit / "findings.json").write_text("{}"), "is not what an audit writes"),
        (lambda audit: (audit / "findings.json").write_text("{"), "is not what an audit writes"),
        (lambda audit: (audit / "figures" / "only-dot.svg").unlink(), "only-dot.svg cannot be read"),
    ],
)
def test_a_past_audit_that_cannot_be_read_is_refused(folder, quick_probe, capsys, prepare, message):
    main(["audit", "mine.py", "--out", "audit"])
    prepare(folder / "audit")
    page = (folder / "audit" / "report.html").read_bytes()
    assert main(["report", "audit"]) == 2
    assert message in capsys.readouterr().err
    assert (folder / "audit" / "report.html").read_bytes() == page
