from assay.lab import run_study
from assay.studies import load


def test_smoke_brings_evidence_for_every_claim(tmp_path):
    study = load("malt")
    run = run_study(study, scale="smoke", out=tmp_path)
    assert set(run.verdicts) == {"C1", "C2", "C3", "C4"}
    assert all(entry.what for entry in run.evidence)
    assert {figure["name"] for figure in run.figures} == {"success-by-target", "almost-linearity"}
    exact = [entry.verdict for entry in run.evidence if "linear network" in entry.what or "far runner-up" in entry.what]
    assert exact == ["holds"] * 4
