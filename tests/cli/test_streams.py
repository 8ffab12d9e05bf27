"""Output that cannot be written: what was found is on whatever still can be."""

import subprocess
import sys

import pytest

from assay.cli import main
from helpers.command_line import PYTHON, assay_in_a_process, environment

QUICK = ("audit", "mine.py", "--probe", "curvature", "--out", "audit")


def test_a_report_that_finds_no_room_leaves_the_findings_on_stdout(folder, quick_probe, capsys, monkeypatch):
    def no_room(path, *given, **options):
        raise OSError(28, "No space left on device")

    quick_probe("high")
    monkeypatch.setattr("pathlib.Path.write_bytes", no_room)
    assert main(["audit", "mine.py", "--out", "audit", "--fail-on", "high"]) == 2
    out, err = capsys.readouterr()
    assert "  high        only: One." in out.splitlines()
    assert err.splitlines()[-1].startswith("assay: cannot write audit (no space left on device); name a folder")
    assert not (folder / "audit").exists()


def test_a_full_stdout_leaves_the_report(folder):
    with open("/dev/full", "w") as full:
        done = assay_in_a_process(*QUICK, stdout=full)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "assay: cannot print the result (no space left on device); send standard output where there is room; "
        "the report is audit/report.html"
    )
    assert (folder / "audit" / "report.html").exists()


def test_a_full_stderr_costs_nothing(folder):
    with open("/dev/full", "w") as full:
        done = assay_in_a_process(*QUICK, stderr=full)
    assert done.returncode == 0
    assert done.stdout.startswith("mine: worst finding ")
    assert done.stdout.splitlines()[-1] == "audit/report.html"


@pytest.mark.parametrize("arguments", ["list", "audit --help", "--version"])
def test_a_reader_who_has_gone_is_no_error(arguments):
    program = f"{sys.executable} -c '{PYTHON}' {arguments} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, env=environment())
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("arguments", ["list", "audit --help"])
def test_a_full_disk_is_no_finding(arguments):
    with open("/dev/full", "w") as full:
        done = assay_in_a_process(*arguments.split(), stdout=full)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_terminal_of_few_characters_is_no_error():
    done = assay_in_a_process("list", env=environment() | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "Studies: adversarial" in done.stdout
