import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import assay
from assay.audit import Figure, Finding, Picture, Probe
from assay.audit import probes as registry
from assay.cli import main

PYTHON = "import sys; from assay.cli import main; sys.exit(main())"
NETWORK = "nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))"
FACTORY = f"from torch import nn\ndef network(): return {NETWORK}\n"
SUBJECT = f"""
import torch
from torch import nn
from assay.audit import Subject
from assay.core import cross_entropy

network = {NETWORK}.eval()
x, y = torch.full((6, 1, 4, 4), 0.5), torch.tensor([0, 1, 2] * 2)
given = dict(model=network, loss=cross_entropy, train=(x, y))

def subject():
    return Subject(**given)
"""


def assay_in_a_process(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(Path(assay.__file__).parents[1])}
    command = [sys.executable, "-c", PYTHON, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a subject, a factory, weights and data, each in order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SUBJECT)
    (tmp_path / "factories.py").write_text(FACTORY)
    weights = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
    save_file(weights, "weights.safetensors")
    torch.save(weights, "weights.pt")
    np.savez("data.npz", x=np.full((4, 1, 4, 4), 0.5, np.float32), y=np.array([0, 1, 2, 0]))
    yield tmp_path
    sys.modules.pop("factories", None)


@pytest.fixture
def quick_probe(monkeypatch):
    """Replace the probes by one that answers at once; returns the function that sets its answer."""

    def answer_with(severity="low", error=None):
        def run(subject, context):
            if error is not None:
                raise error
            figure = Figure(
                (Picture("dot", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg", alt="A dot"),), "A dot"
            )
            return Finding(headline="One.", severity=severity, rule="By decree.", advice="Rest.", figures=(figure,))

        monkeypatch.setattr(registry, "names", lambda: ["only"])
        monkeypatch.setattr(registry, "load", lambda name: Probe("only", "Well?", frozenset(), run))

    answer_with()
    return answer_with


def change(folder, line):
    """Write a subject like mine.py with one line more, and return its name."""
    (folder / "changed.py").write_text(SUBJECT.replace("def subject", f"{line}\n\ndef subject"))
    return "changed.py"


BAD_INPUT = {
    "missing file": (lambda folder: ["gone.py"], "give a Python file"),
    "pickle with code": (lambda folder: ["factories:network", "--weights", pickled()], "save_file(model.state_dict()"),
    "wrong shapes": (lambda folder: [change(folder, "given['train'] = (x[:, :, :3], y)")], "reshape the data"),
    "labels out of range": (lambda folder: [change(folder, "y[0] = 7")], "relabel the classes as 0..2"),
    "NaN weights": (lambda folder: [change(folder, "network[1].weight.data[0] = torch.nan")], "a healthy checkpoint"),
    "no ReLU": (
        lambda folder: [change(folder, "network[2] = nn.Tanh()"), "--probe", "reconstruction"],
        "ReLU",
    ),
    "dropout on": (lambda folder: [change(folder, "network.append(nn.Dropout(0.5).train())")], "call model.eval()"),
    "empty data": (lambda folder: [change(folder, "given['train'] = (x[:0], y[:0])")], "at least one sample"),
    "unknown probe": (lambda folder: ["mine.py", "--probe", "reconstructoin"], "did you mean 'reconstruction'?"),
    "unwritable folder": (lambda folder: ["mine.py", "--out", "mine.py/audit"], "can be written with --out"),
    "unknown subject": (lambda folder: ["fashions"], "did you mean 'fashion'?"),
    "unknown device": (lambda folder: ["mine.py", "--device", "nowhere"], "leave out --device"),
    "damaged data": (
        lambda folder: ["factories:network", "--weights", "weights.pt", "--train", "factories.py"],
        "numpy.savez",
    ),
    "a bug in the user's file": (lambda folder: [change(folder, "1 / 0")], "ZeroDivisionError"),
}  # fmt: skip


class Trap:
    def __reduce__(self):
        return print, ("the trap is sprung",)


def pickled():
    torch.save(Trap(), "trap.pt")
    return "trap.pt"


@pytest.mark.parametrize(("arguments", "mend"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_sentence_with_its_mend_and_writes_nothing(folder, capsys, arguments, mend):
    given = arguments(folder)
    before = sorted(folder.rglob("*"))
    assert main(["audit", *given]) == 2
    out, err = capsys.readouterr()
    sentence = [line for line in err.splitlines() if line.startswith("assay: ")]
    assert len(sentence) == 1
    assert mend in sentence[0]
    assert "Traceback" not in err
    assert out == ""
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in str(path)] == before


def test_a_process_says_it_on_stderr_with_exit_code_2(folder):
    done = assay_in_a_process("audit", change(folder, "y[0] = 7"), cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("assay: subject 'subject' cannot be audited: train data: y holds labels from 0 to 7")


def test_debug_shows_where_it_happened(folder, capsys):
    assert main(["audit", change(folder, "1 / 0"), "--debug"]) == 2
    assert "ZeroDivisionError: division by zero\n\nThe above exception" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["audit"], ["adit"], ["audit", "digits", "--fail-on", "dire"], ["audit", "a", "b"]]
)
def test_arguments_that_do_not_parse_exit_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""


def test_the_report_is_the_last_line_of_stdout(folder, capsys):
    assert main(["audit", "mine.py", "--probe", "curvature", "--probe", "robustness", "--out", "audit"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "audit/report.html"
    assert "[2/2] How easily" in err
    facts = json.loads((folder / "audit" / "findings.json").read_text())
    assert [finding["probe"] for finding in facts["findings"]] == ["curvature", "robustness"]


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


@pytest.mark.parametrize(("level", "code"), [("never", 0), ("high", 1)])
def test_a_gate_does_not_pass_because_a_probe_broke(folder, quick_probe, level, code):
    quick_probe(error=RuntimeError("broken"))
    assert main(["audit", "mine.py", "--fail-on", level]) == code


def test_an_interrupted_audit_writes_its_report_and_exits_with_130(folder, quick_probe, capsys):
    quick_probe(error=KeyboardInterrupt())
    assert main(["audit", "mine.py", "--out", "audit"]) == 130
    assert "stopped before its end" in (folder / "audit" / "report.html").read_text()


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


def test_report_without_records_says_so(folder, capsys):
    assert main(["report"]) == 2
    assert capsys.readouterr().err.startswith("assay: records holds no records")


def test_study_prints_each_claims_verdict_and_keeps_a_small_run(folder, capsys, monkeypatch):
    paper = SimpleNamespace(title="A Paper", year=2024)
    study = SimpleNamespace(slug="paper", paper=paper, claims={"C1": "It works", "C2": "It scales"})
    run = SimpleNamespace(verdicts={"C1": "holds", "C2": "fails"}, folder="runs/paper-small-1", study=study)
    asked = {}
    monkeypatch.setattr("assay.studies.load", lambda slug: study)
    monkeypatch.setattr("assay.lab.runner.run_study", lambda study, **options: asked.update(options) or run)
    monkeypatch.setattr("assay.lab.records.record", lambda run, records: records / "paper.json")
    (folder / "records").mkdir()
    assert main(["study", "paper", "--seed", "3", "--jobs", "2", "--backend", "dask", "--address", "tcp://a:1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "A Paper (2024)",
        "  C1  holds  It works",
        "  C2  fails  It scales",
        "runs/paper-small-1",
        "records/paper.json",
    ]
    chosen = ("scale", "seed", "jobs", "backend", "address")
    assert [asked[name] for name in chosen] == ["small", 3, 2, "dask", "tcp://a:1"]


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


def test_list_names_every_study_probe_and_subject(capsys):
    from assay import studies
    from assay.audit.builtin import BUILT_IN

    assert main(["list"]) == 0
    out = capsys.readouterr().out
    names = [*studies.slugs(), *registry.names(), *BUILT_IN]
    assert all(f"  {name}  " in out for name in names)
    assert all(title in out for title in studies.titles().values())
