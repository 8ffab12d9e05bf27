import json

import jsonschema
import pytest
import torch

from assay.audit import Finding, Picture, SkipProbe, Table, rerender, run_audit
from assay.audit import probes as registry
from assay.audit.result import schema
from assay.core import InvalidInputError
from helpers.stand_ins import a_finding, a_probe, small_subject


def raiser(error):
    def run(subject, context):
        raise error

    return run


def findings(result):
    return json.loads((result.folder / "findings.json").read_text())


def contents(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture
def audited(with_probes, tmp_path):
    """Audit with one stand-in for everything that can come of a probe."""
    with_probes(
        a_probe("good", lambda subject, context: a_finding("medium")),
        a_probe("bad", raiser(RuntimeError("it broke\nin two lines"))),
        a_probe("blind", raiser(SkipProbe("it reads other networks"))),
        a_probe("poor", raiser(AssertionError("must not run")), needs={"weights", "initial_weights"}),
    )
    return run_audit(small_subject(notes=("the classes are in the order of the rainbow",)), out=tmp_path / "audit")


def test_one_probes_failure_is_an_answer_and_the_others_go_on(audited):
    assert [(answer.probe, answer.status) for answer in audited.answers] == [
        ("good", "answered"),
        ("bad", "failed"),
        ("blind", "skipped"),
        ("poor", "skipped"),
    ]
    assert [answer.reason for answer in audited.answers[1:]] == [
        "RuntimeError: it broke",
        "it reads other networks",
        "it needs the weights before training, which this subject does not have",
    ]
    assert audited.failed
    assert not audited.interrupted


def test_findings_follow_the_published_schema(audited):
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    validator.validate(findings(audited))
    broken = findings(audited)
    del broken["findings"][0]["severity"]
    assert not validator.is_valid(broken)


def test_findings_hold_the_facts(audited):
    facts = findings(audited)
    assert facts["worst"] == "medium"
    assert facts["subject"] == {
        "name": "small",
        "notes": ["the classes are in the order of the rainbow"],
        "model": ["Flatten(start_dim=1, end_dim=-1)", "Linear(in_features=16, out_features=8, bias=True)", "ReLU()",
                  "Linear(in_features=8, out_features=3, bias=True)"],
        "parameters": 163,
        "loss": facts["subject"]["loss"],
        "input_range": [0.0, 1.0],
        "class_names": ["red", "green", "blue"],
        "training_samples": 6,
        "test_samples": 5,
    }  # fmt: skip
    good = facts["findings"][0]
    assert (good["headline"], good["measures"]) == ("Two of six.", {"count": 2.0})
    assert (audited.folder / good["figures"][0]["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")
    assert good["tables"][0]["rows"] == [["dots", 2]]


@pytest.mark.parametrize(
    ("severities", "level", "reached"),
    [
        (["info"], "low", False),
        (["info", "high"], "high", True),
        (["medium"], "high", False),
        (["medium"], "low", True),
    ],
)
def test_severity_is_compared_with_a_level(with_probes, tmp_path, severities, level, reached):
    runs = [lambda subject, context, s=severity: a_finding(s) for severity in severities]
    with_probes(*(a_probe(f"p{n}", run) for n, run in enumerate(runs)))
    assert run_audit(small_subject(), out=tmp_path / "audit").reaches(level) is reached


def test_notes_on_the_subject_stand_on_the_page_and_the_terminal(audited):
    note = "the classes are in the order of the rainbow"
    assert f"<li>{note}</li>" in audited.report.read_text()
    assert f"  note        {note}" in str(audited).splitlines()


def test_a_past_audit_without_notes_is_rendered_again(audited):
    facts = findings(audited)
    del facts["subject"]["notes"]
    (audited.folder / "findings.json").write_text(json.dumps(facts))
    assert 'class="notes"' not in rerender(audited.folder).read_text()


def test_a_name_cannot_forge_a_line_of_the_terminal(with_probes, tmp_path):
    with_probes(a_probe("good", lambda subject, context: a_finding("high")))
    forged = small_subject(name="net: worst finding info\n  \x1b[31m")
    lines = str(run_audit(forged, out=tmp_path / "audit")).split("\n")
    assert [line.split()[0] for line in lines[1:]] == ["fit", "warning", "warning", "warning", "high"]
    assert "\x1b" not in lines[0]


def test_an_interrupt_writes_what_there_is(with_probes, tmp_path):
    with_probes(
        a_probe("first", lambda subject, context: a_finding()),
        a_probe("second", raiser(KeyboardInterrupt())),
        a_probe("third", raiser(AssertionError("must not run"))),
    )
    result = run_audit(small_subject(), out=tmp_path / "audit")
    assert [answer.status for answer in result.answers] == ["answered", "interrupted", "interrupted"]
    assert result.interrupted
    assert findings(result)["interrupted"] is True
    jsonschema.validate(findings(result), schema())
    assert "The audit was interrupted; this page shows" in result.report.read_text()


def test_a_subject_that_no_probe_can_read_is_refused_and_nothing_is_written(with_probes, tmp_path):
    with_probes(a_probe("blind", raiser(SkipProbe("it reads other networks"))))
    with pytest.raises(InvalidInputError, match="no probe applies to subject 'small': blind: it reads other networks"):
        run_audit(small_subject(), out=tmp_path / "deep" / "audit")
    assert contents(tmp_path) == []


def test_an_unwritable_place_is_refused_before_any_probe_runs(with_probes, tmp_path):
    with_probes(a_probe("slow", raiser(AssertionError("must not run"))))
    (tmp_path / "file").write_text("taken")
    for out in (tmp_path / "file" / "audit", tmp_path / "file", "/proc/nowhere/audit"):
        with pytest.raises(InvalidInputError, match="--out"):
            run_audit(small_subject(), out=out)
    assert contents(tmp_path) == ["file"]


def test_a_failure_while_writing_leaves_nothing(with_probes, tmp_path, monkeypatch):
    with_probes(a_probe("good", lambda subject, context: a_finding()))

    def no_page(facts, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("assay.audit.audit.render_report", no_page)
    with pytest.raises(InvalidInputError, match="no space left on device"):
        run_audit(small_subject(), out=tmp_path / "audit")
    assert contents(tmp_path) == []


def test_findings_that_cannot_be_written_are_a_note_of_the_error(with_probes, tmp_path, monkeypatch):
    def no_room(path, *given, **options):
        raise OSError(28, "No space left on device")

    with_probes(a_probe("good", lambda subject, context: a_finding("high")))
    monkeypatch.setattr("pathlib.Path.write_text", no_room)
    with pytest.raises(InvalidInputError) as refusal:
        run_audit(small_subject(), out=tmp_path / "audit")
    assert "high        good: Two of six." in refusal.value.__notes__[0]


def test_audits_without_a_folder_are_numbered(with_probes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_probes(a_probe("good", lambda subject, context: a_finding()))
    folders = [run_audit(small_subject(name="my net/2")).folder.as_posix() for _ in range(2)]
    assert folders == ["assay-audit/my-net-2-1", "assay-audit/my-net-2-2"]


def test_the_model_comes_back_as_it_was(tmp_path):
    subject = small_subject()
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    run_audit(subject, probes=["curvature", "robustness"], out=tmp_path / "audit")
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in subject.model.parameters())


def test_an_unknown_probe_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(InvalidInputError, match="did you mean 'curvature'"):
        run_audit(small_subject(), probes=["curvatur"], out=tmp_path / "audit")
    with pytest.raises(InvalidInputError, match="choose from reconstruction, initial_weights, membership, coherence"):
        registry.load("xyz")


def test_every_probe_asks_what_its_file_says():
    assert registry.names()[0] == "reconstruction"
    for name, question in registry.questions().items():
        probe = registry.load(name)
        assert (probe.name, probe.question) == (name, question)
        assert question.endswith("?")


@pytest.mark.parametrize(
    "broken",
    [
        lambda: a_finding(measures={"loss": float("nan")}),
        lambda: a_finding("severe"),
        lambda: Picture("dot", b"", "png", alt=" "),
        lambda: Table("Counts", ("what", "n"), (("dots",),)),
    ],
)
def test_a_finding_that_would_mislead_is_refused(broken):
    with pytest.raises((InvalidInputError, TypeError)):  # an unknown severity is a type error under the type checker
        assert isinstance(broken(), Finding)
