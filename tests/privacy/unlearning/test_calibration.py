import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core import InvalidInputError, NumericalError, seeded
from assay.privacy import LogitDifferenceModel, calibrate_alpha
from assay.privacy.unlearning import QAExamples, relative_top_mask, token_logits
from assay.privacy.unlearning.calibration import RELATIVE_MARGIN
from assay.privacy.unlearning.examples import answer_logits
from helpers.language_models import Bigram


def known(n=40, vocabulary=8, seed=0):
    """A target and an assistant that know many of the same answers, and examples of two answers each."""
    ids = torch.randint(vocabulary, (n, 3), generator=seeded(seed))
    target, assistant = Bigram(vocabulary, seed=seed), Bigram(vocabulary, seed=seed + 1)
    with torch.no_grad():
        right = target.table(ids[:, 0]).argmax(-1)
        assistant.table.weight += 2 * torch.nn.functional.one_hot(target.table.weight.argmax(-1), vocabulary)
    ids[:, 1] = right
    ids[:, 2] = target.table(ids[:, 1]).argmax(-1)
    return target, assistant, QAExamples.from_tokens(ids, prompt_length=1)


def shares_right(target, assistant, examples, alphas, top_filter):
    """The share of right tokens for each alpha, straight from the logits."""
    logits, tokens = answer_logits(token_logits(target, examples), examples.labels)
    log_p = answer_logits(token_logits(assistant, examples), examples.labels)[0].log_softmax(-1)
    chosen_from = torch.ones_like(log_p) > 0 if top_filter is None else relative_top_mask(logits, top_filter)
    scores = logits - torch.tensor(alphas)[:, None, None] * (log_p + math.log(log_p.shape[1]))
    scores = scores.masked_fill(~chosen_from, -math.inf)
    return (scores.argmax(-1) == tokens).double().mean(1).tolist()


def share_right(target, assistant, examples, alpha, top_filter=None):
    model = LogitDifferenceModel(target, assistant, alpha, top_filter)
    scores, tokens = answer_logits(token_logits(model, examples), examples.labels)
    return (scores.argmax(1) == tokens).double().mean().item()


@given(st.integers(0, 200), st.sampled_from([0.0, 0.2, 0.6]), st.sampled_from([None, 0.1]))
@settings(max_examples=25)
def test_no_smaller_alpha_on_a_fine_grid_is_enough(seed, wanted, top_filter):
    target, assistant, examples = known(seed=seed)
    grid = torch.linspace(0, 6, 601).tolist()
    shares = shares_right(target, assistant, examples, grid, top_filter)
    enough = [alpha for alpha, share in zip(grid, shares, strict=True) if share <= wanted]
    try:
        alpha = calibrate_alpha(target, assistant, examples, forget_accuracy=wanted, top_filter=top_filter)
    except InvalidInputError:
        assert enough == []
        return
    assert share_right(target, assistant, examples, alpha, top_filter) <= wanted
    below = alpha / (1 + RELATIVE_MARGIN) * (1 - 1e-6)
    assert alpha == 0 or share_right(target, assistant, examples, below, top_filter) > wanted
    # Whatever the grid finds is not below the answer, but for the clearance.
    assert not enough or enough[0] >= alpha / (1 + RELATIVE_MARGIN) - 1e-9


@pytest.mark.parametrize("vocabulary", [8, 130])
@pytest.mark.parametrize("top_filter", [None, 0.01])
def test_nothing_that_is_called_forgotten_is_generated(vocabulary, top_filter):
    target, assistant = Bigram(vocabulary), Bigram(vocabulary, seed=1)
    secret = torch.arange(vocabulary).roll(1)
    with torch.no_grad():
        for model, certainty in ((target, 14), (assistant, 9)):
            model.table.weight += certainty * torch.nn.functional.one_hot(secret, vocabulary)
    prompts = torch.arange(vocabulary)[:, None]
    examples = QAExamples.from_tokens(torch.cat([prompts, secret[:, None]], 1), prompt_length=1)
    alpha = calibrate_alpha(target, assistant, examples, forget_accuracy=0.0, top_filter=top_filter)
    model = LogitDifferenceModel(target, assistant, alpha, top_filter)
    said = model.generate(prompts, max_new_tokens=1)[:, 1]
    assert (said == secret).sum() == 0
    assert share_right(target, assistant, examples, alpha, top_filter) == 0


class Undefined(torch.nn.Module):
    """A model whose logits after token 0 are no numbers, though its weights are."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids):
        return self.inner(input_ids).where(input_ids[..., None] != 0, math.nan)


@pytest.mark.parametrize("broken", ["target", "assistant"])
def test_logits_that_are_no_numbers_are_an_error(broken):
    target, assistant, examples = known()
    tokens = examples.input_ids
    with_zero = (tokens[:, :-1] == 0).any(1)
    late = QAExamples.from_tokens(torch.cat([tokens[~with_zero], tokens[with_zero]]), prompt_length=1)
    assert 3 < (~with_zero).sum() < len(tokens)  # of which the first three are looked at before
    pair = (Undefined(target), assistant) if broken == "target" else (target, Undefined(assistant))
    with pytest.raises(NumericalError, match=broken):
        calibrate_alpha(*pair, late)


def test_a_target_that_does_not_know_needs_nothing():
    target, assistant, examples = known()
    wrong = QAExamples.from_tokens((examples.input_ids + 1) % 8, prompt_length=1)
    assert share_right(target, assistant, wrong, 0.0) <= 0.5
    assert calibrate_alpha(target, assistant, wrong, forget_accuracy=0.5) == 0


def test_an_assistant_that_does_not_know_cannot_help():
    target, _, examples = known()
    with pytest.raises(InvalidInputError, match="train the assistant longer"):
        calibrate_alpha(target, torch.nn.Embedding.from_pretrained(torch.zeros(8, 8).double()), examples)


def test_bad_input():
    target, assistant, examples = known()
    with pytest.raises(InvalidInputError, match="forget_accuracy"):
        calibrate_alpha(target, assistant, examples, forget_accuracy=1.0)
    with pytest.raises(InvalidInputError, match="top_filter"):
        calibrate_alpha(target, assistant, examples, top_filter=2.0)
    with pytest.raises(InvalidInputError, match="batch_size"):
        calibrate_alpha(target, assistant, examples, batch_size=0)
