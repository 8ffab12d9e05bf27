import torch

from assay.reconstruction.known_start import Displacement
from assay.reconstruction.known_start.verdict import judge


def moved(rank=4, z_score=500.0, share=1.0):
    return Displacement(share, 0.9, z_score, torch.ones(8), 1e-8, rank, torch.eye(8)[:rank])


def votes(*values):
    return torch.tensor(values)


def test_agreement_on_half_the_samples_is_a_find():
    verdict = judge(moved(share=0.96), torch.tensor([0.1, 0.5]), votes(0.95, 0.92, 0.5), ("2.bias",))
    assert verdict.outcome == "found"
    assert (verdict.n_samples, verdict.n_agreed, verdict.failures) == (4, 2, ())
    text = str(verdict)
    assert text.startswith("Samples found: trained on 4 samples")
    assert "of which training left 96.0%" in text
    assert "leave 10.0%" in text
    assert "2.bias" in text


def test_agreement_on_fewer_is_one_in_part():
    verdict = judge(moved(), torch.tensor([0.1, 0.1]), votes(0.95, 0.89, 0.5), ())
    assert verdict.outcome == "partly found"
    assert "mixtures" in str(verdict)


def test_a_large_gap_is_no_find_whatever_the_votes():
    verdict = judge(moved(), torch.tensor([0.31, 0.5]), votes(0.99, 0.99, 0.99), ())
    assert verdict.outcome == "nothing found"
    assert (verdict.n_samples, verdict.n_agreed) == (None, 0)  # Adam's steps have some rank too
    assert "No candidate is called a reconstruction." in str(verdict)


def test_a_wrong_start_has_no_count_and_names_what_to_give():
    verdict = judge(moved(z_score=2.0), None, None, ())
    assert (verdict.outcome, verdict.is_start, verdict.n_samples, verdict.gap) == ("nothing found", False, None, None)
    assert "wrong start" in str(verdict)
    assert "init_state=" in str(verdict)


def test_a_displacement_without_a_rank_names_adam_and_batch_norm():
    verdict = judge(moved(rank=0), None, None, ())
    assert (verdict.outcome, verdict.is_start, verdict.n_samples) == ("nothing found", True, None)
    assert "Adam" in str(verdict)
    assert "batch-norm" in str(verdict)
