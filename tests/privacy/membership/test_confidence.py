import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.privacy.membership import label_logits, logit_confidence


@given(st.integers(1, 6), st.integers(2, 12), st.integers(0, 1000))
def test_is_the_log_odds_of_the_label(n, c, seed):
    source = seeded(seed)
    logits = 3 * torch.randn(n, c, generator=source, dtype=torch.float64)
    y = torch.randint(c, (n,), generator=source)
    p = logits.softmax(1)[torch.arange(n), y]
    torch.testing.assert_close(logit_confidence(logits, y), (p / (1 - p)).log(), rtol=1e-9, atol=1e-9)


def test_two_classes_give_the_difference_of_their_logits():
    logits = torch.randn(9, 2, generator=seeded(0), dtype=torch.float64)
    difference = logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(logit_confidence(logits, torch.ones(9, dtype=torch.long)), difference, rtol=0, atol=0)


@pytest.mark.parametrize("labels", [(0, 1, 1), (-1, 1, 1)])
def test_one_logit_is_signed_by_its_label(labels):
    logits, y = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor(labels)
    assert logit_confidence(logits, y).tolist() == label_logits(logits, y).tolist() == [-2.0, -1.0, 0.5]


def test_is_finite_where_the_probability_rounds_to_one():
    # log p/(1-p) of a softmax would be infinite here.
    assert logit_confidence(torch.tensor([[200.0, 0.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(199.3069)


def test_bad_labels():
    with pytest.raises(InvalidInputError, match="labels from"):
        logit_confidence(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(InvalidInputError, match="binary labels"):
        logit_confidence(torch.zeros(2, 1), torch.tensor([0, 3]))
