import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.privacy import (
    LogitDifferenceModel,
    calibrate_alpha,
)
from assay.privacy.unlearning import (
    Documents,
    relative_top_mask,
    token_logits,
)
from assay.privacy.unlearning.calibration import CLEARANCE
from assay.privacy.unlearning.documents import asked_logits
from helpers.language_models import Bigram


def known(n=40, vocabulary=8, seed=0):
    """A target and an assistant that know many of the same answers, and documents of two answers each."""
    ids = torch.randint(vocabulary, (n, 3), generator=seeded(seed))
    target, assistant = Bigram(vocabulary, seed=seed), Bigram(vocabulary, seed=seed + 1)
    with torch.no_grad():
        right = target.table(ids[:, 0]).argmax(-1)
        assistant.table.weight += 2 * torch.nn.functional.one_hot(target.table.weight.argmax(-1), vocabulary)
    ids[:, 1] = right
    ids[:, 2] = target.table(ids[:, 1]).argmax(-1)
    return target, assistant, Documents.of_answers(ids, prompt_length=1)


def shares_right(target, assistant, documents, alphas, top_filter):
    """The share of right tokens for each alpha, straight from the logits."""
    logits, tokens = asked_logits(token_logits(target, documents), documents.labels)
    log_p = asked_logits(token_logits(assistant, documents), documents.labels)[0].log_softmax(-1)
    counted = torch.ones_like(log_p) if top_filter is None else relative_top_mask(logits, top_filter)
    scores = logits - torch.tensor(alphas)[:, None, None] * counted * (log_p + math.log(log_p.shape[1]))
    return (scores.argmax(-1) == tokens).double().mean(1).tolist()


def share_right(target, assistant, documents, alpha, top_filter=None):
    model = LogitDifferenceModel(target, assistant, alpha, top_filter)
    scores, tokens = asked_logits(token_logits(model, documents), documents.labels)
    return (scores.argmax(1) == tokens).double().mean().item()


@given(st.integers(0, 200), st.sampled_from([0.0, 0.2, 0.6]), st.sampled_from([None, 0.1]))
@settings(max_examples=25)
def test_no_smaller_alpha_on_a_fine_grid_is_enough(seed, wanted, top_filter):
    target, assistant, documents = known(seed=seed)
    grid = torch.linspace(0, 6, 601).tolist()
    shares = shares_right(target, assistant, documents, grid, top_filter)
    enough = [alpha for alpha, share in zip(grid, shares, strict=True) if share <= wanted]
    try:
        alpha = calibrate_alpha(target, assistant, documents, forget_accuracy=wanted, top_filter=top_filter)
    except InvalidInputError:
        assert enough == []
        return
    assert share_right(target, assistant, documents, alpha, top_filter) <= wanted
    below = alpha / (1 + CLEARANCE) * (1 - 1e-6)
    assert alpha == 0 or share_right(target, assistant, documents, below, top_filter) > wanted
    # Whatever the grid finds is not below the answer, but for the clearance.
    assert not enough or enough[0] >= alpha / (1 + CLEARANCE) - 1e-9


def test_a_target_that_does_not_know_needs_nothing():
    target, assistant, documents = known()
    wrong = Documents.of_answers((documents.input_ids + 1) % 8, prompt_length=1)
    assert share_right(target, assistant, wrong, 0.0) <= 0.5
    assert calibrate_alpha(target, assistant, wrong, forget_accuracy=0.5) == 0


def test_an_assistant_that_does_not_know_cannot_help():
    target, _, documents = known()
    with pytest.raises(InvalidInputError, match="train the assistant longer"):
        calibrate_alpha(target, torch.nn.Embedding.from_pretrained(torch.zeros(8, 8).double()), documents)


def test_bad_input():
    target, assistant, documents = known()
    with pytest.raises(InvalidInputError, match="forget_accuracy"):
        calibrate_alpha(target, assistant, documents, forget_accuracy=1.0)
    with pytest.raises(InvalidInputError, match="top_filter"):
        calibrate_alpha(target, assistant, documents, top_filter=2.0)
