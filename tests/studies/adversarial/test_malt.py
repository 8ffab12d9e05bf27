def test_smoke_brings_evidence_for_every_claim(smoke_run):
    run = smoke_run("malt")
    assert set(run.verdicts) == {"C1", "C2", "C3", "C4"}
    assert all(entry.what for entry in run.evidence)
    assert {figure["name"] for figure in run.figures} == {"success-by-target", "almost-linearity"}
    exact = [entry.verdict for entry in run.evidence if "linear network" in entry.what or "far runner-up" in entry.what]
    assert exact == ["holds"] * 4
