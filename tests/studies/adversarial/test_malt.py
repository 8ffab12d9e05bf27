import numpy as np

from assay.studies.adversarial.malt import study


def test_smoke_brings_evidence_for_every_claim(smoke_run):
    run = smoke_run("malt")
    assert set(run.verdicts) == {"C1", "C2", "C3", "C4"}
    assert {figure["name"] for figure in run.figures} == {"success-by-target", "almost-linearity"}
    exact = [entry.verdict for entry in run.evidence if "linear network" in entry.what]
    assert exact == ["holds"] * 4


def test_targets_needed_are_those_that_bring_99_percent_of_the_final_success():
    success = np.array([[0.10, 0.20, 0.20], [0.30, 0.30, 0.30], [0.98, 0.99, 1.00]])
    assert study.targets_needed(success).tolist() == [2, 1, 2]
