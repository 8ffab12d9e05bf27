"""Ctrl-C, SIGTERM and SIGKILL during an audit, sent to a process: what was finished is written, or nothing is."""

import json
import signal
import subprocess
import sys
import time

import pytest

from helpers.command_line import assay_in_a_process, environment

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL

# Two probes: one that answers at once, and one that says so and never ends. The page takes a second to write.
SLOW = """
import signal, sys, time
from assay.audit import Finding, Probe, audit
from assay.audit import probes as registry

def run(subject, context):
    return Finding(headline="One.", severity="high", rule="By decree.", advice="Rest.")

def never(subject, context):
    print("running", flush=True)
    time.sleep(600)

def slowly(facts, folder, render=audit.render_report):
    time.sleep(1)
    return render(facts, folder)

audit.render_report = slowly
runs = {"one": run, "two": never}
table = {name: Probe(name, name + "?", "training", frozenset(), runs[name]) for name in runs}
registry.names = lambda: list(table)
registry.load = table.__getitem__
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with Ctrl-C ignored
from assay.cli import main
sys.exit(main())
"""


def audit_and_send(*signals, gap=0.3):
    """Start an audit, send it signals while its second probe runs, and return its exit code and stderr."""
    command = [sys.executable, "-c", SLOW, "audit", "mine.py", "--out", "audit", "--fail-on", "low"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        try:
            assert process.stdout.readline() == "running\n"
            for number in signals:
                process.send_signal(number)
                time.sleep(gap)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # else a test that fails waits for the probe to end
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("signals", "code"), [((INT,), 130), ((TERM,), 143), ((INT, INT), 130), ((TERM, INT, TERM), 143)]
)
def test_an_audit_that_is_stopped_writes_what_it_found(folder, signals, code):
    returned, out, err = audit_and_send(*signals)
    assert returned == code
    assert out.splitlines()[0] == "mine: worst finding high; 1 of 2 probes answered (1 interrupted)"
    assert out.splitlines()[-1] == "audit/report.html"
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "assay: interrupted"
    facts = json.loads((folder / "audit" / "findings.json").read_text())
    assert [finding["status"] for finding in facts["findings"]] == ["answered", "interrupted"]
    assert facts["interrupted"]


def test_an_audit_that_is_killed_leaves_an_empty_folder_at_most_and_the_next_one_uses_it(folder):
    before = set(folder.iterdir())
    assert audit_and_send(KILL)[0] == -KILL
    left = [path for path in folder.iterdir() if path not in before and path.name != "__pycache__"]
    assert left == [folder / "audit"]
    assert list((folder / "audit").iterdir()) == []
    done = assay_in_a_process("audit", "mine.py", "--probe", "curvature", "--out", "audit")
    assert done.returncode == 0
    assert "audit is there and empty, as a killed audit leaves it; this audit uses it" in done.stderr
    assert (folder / "audit" / "report.html").exists()
