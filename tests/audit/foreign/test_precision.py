"""Subjects in half precision."""

import pytest
import torch
from torch import nn

from assay.audit import run_audit
from helpers.stand_ins import small_network, small_subject

X, Y = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("given", [torch.float32, None])
def test_a_network_in_half_precision_is_computed_with_as_float32(half, given, tmp_path):
    model = small_network().to(half)
    x = X.to(given or half)
    subject = small_subject(model=model, train=(x, Y), test=(x[:20], Y[:20]), mean=None)
    assert {value.dtype for value in (*subject.model.parameters(), subject.train[0])} == {torch.float32}
    assert all(torch.equal(a.to(half), b) for a, b in zip(subject.model.parameters(), model.parameters(), strict=True))
    assert subject.notes == (f"weights in {half} are computed with as torch.float32",)
    assert {value.dtype for value in model.parameters()} == {half}
    answers = run_audit(subject, probes=["logit_gaps", "curvature", "robustness"], out=tmp_path / "a").answers
    assert all(answer.status != "failed" for answer in answers[::2])


class Casting(nn.Module):
    """A network that holds to its type."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3).bfloat16()

    def forward(self, x):
        return self.layer(x.flatten(1).bfloat16())


def test_a_network_that_holds_to_its_type_stays_as_it_is():
    model = Casting().eval()
    subject = small_subject(model=model, train=(X.bfloat16(), Y), test=None)
    assert subject.model is model
    assert subject.notes == ()
