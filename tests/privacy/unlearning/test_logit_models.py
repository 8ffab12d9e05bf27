import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from assay.core import InvalidInputError, NumericalError
from assay.privacy import LogitDifferenceModel, OffsetModel
from assay.privacy.unlearning import relative_top_mask, subtract_logits
from helpers.language_models import Bigram, random_logits

IDS = torch.tensor([[0, 3, 2], [4, 4, 1]])


@given(st.integers(0, 1000), st.floats(0, 3))
@settings(max_examples=25)
def test_the_answer_is_the_quotient_of_the_probabilities(seed, alpha):
    target, assistant = random_logits(2, 4, 7, seed=seed)
    answer = subtract_logits(target, assistant, alpha=alpha).softmax(-1)
    quotient = target.softmax(-1) * assistant.softmax(-1) ** -alpha
    torch.testing.assert_close(answer, quotient / quotient.sum(-1, keepdim=True), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("top_filter", [None, 0.2])
def test_an_assistant_that_knows_nothing_changes_nothing(top_filter):
    target, _ = random_logits(2, 5, 9)
    uniform = torch.full_like(target, -3.0)
    difference = subtract_logits(target, uniform, alpha=2.0, top_filter=top_filter)
    torch.testing.assert_close(difference, target, rtol=0, atol=1e-12)


def test_raw_logits_give_the_same_answers_without_a_filter():
    target, assistant = random_logits(2, 5, 9)
    torch.testing.assert_close(
        subtract_logits(target, assistant, alpha=0.7).softmax(-1), (target - 0.7 * assistant).softmax(-1)
    )


@given(st.integers(0, 1000), st.floats(0.001, 0.9), st.integers(2, 40))
@settings(max_examples=40)
def test_the_filter_is_what_its_definition_says(seed, ratio, vocabulary):
    (logits,) = random_logits(1, 3, vocabulary, seed=seed)
    mask = relative_top_mask(4 * logits, ratio)
    for row, kept in zip((4 * logits).softmax(-1).tolist(), mask.tolist(), strict=True):
        rank = max(2, int(ratio * vocabulary))
        floor = min(math.log(max(row)) + math.log(ratio), math.log(sorted(row)[-rank]))
        expected = [math.log(p) >= floor for p in row]
        near = [abs(math.log(p) - floor) < 1e-9 for p in row]
        assert all(k == e or n for k, e, n in zip(kept, expected, near, strict=True))
        assert kept[row.index(max(row))]
        assert sum(kept) >= 2


def test_a_tiny_ratio_keeps_everything():
    (logits,) = random_logits(1, 3, 50)
    assert relative_top_mask(logits, 1e-300).all()


def test_the_filter_holds_back_what_neither_model_believes():
    # The last token is unlikely for both models, most of all for the assistant.
    target, assistant = torch.tensor([5.0, 4.0, -6.0]), torch.tensor([5.0, 0.0, -20.0])
    assert subtract_logits(target, assistant, alpha=1.0).argmax() == 2
    filtered = subtract_logits(target, assistant, alpha=1.0, top_filter=0.01)
    assert filtered.argmax() == 1
    torch.testing.assert_close(filtered[2] - filtered[:2].max(), target[2] - target.max())


def test_the_model_subtracts_at_every_place():
    target, assistant = Bigram(5, seed=1), Bigram(5, seed=2)
    both = LogitDifferenceModel(target, assistant, alpha=0.6, top_filter=0.3)(IDS)
    expected = subtract_logits(target(IDS), assistant(IDS), alpha=0.6, top_filter=0.3)
    assert torch.equal(both, expected)


def test_plain_models_continue_with_the_likeliest_token():
    target, assistant = Bigram(5, seed=1), Bigram(5, seed=2)
    model = LogitDifferenceModel(target, assistant, alpha=0.6)
    answer = model.generate(IDS, max_new_tokens=4)
    assert answer.shape == (2, 7)
    for place in range(3, 7):
        assert torch.equal(answer[:, place], model(answer[:, :place])[:, -1].argmax(-1))
    alone = LogitDifferenceModel(target, assistant, alpha=0.0).generate(IDS, max_new_tokens=4)
    assert torch.equal(
        alone, LogitDifferenceModel(target, Bigram(5, seed=9), alpha=0.0).generate(IDS, max_new_tokens=4)
    )


def test_tokens_outside_the_filter_are_never_chosen():
    target, assistant = random_logits(2, 3, 6)
    model = LogitDifferenceModel(Bigram(6), Bigram(6), alpha=50.0, top_filter=0.5)
    log_p = model.next_log_p(target, assistant)
    assert torch.equal(torch.isfinite(log_p), relative_top_mask(target, 0.5))
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(3, dtype=torch.float64))


@given(st.integers(0, 1000), st.integers(2, 130), st.floats(0, 8), st.sampled_from([None, 0.01, 0.3]))
@settings(max_examples=40)
def test_generation_says_what_the_forward_pass_finds_likeliest(seed, vocabulary, alpha, top_filter):
    target, assistant = Bigram(vocabulary, seed=seed), Bigram(vocabulary, seed=seed + 1)
    with torch.no_grad():
        for model, certainty in ((target, 12), (assistant, 6)):
            model.table.weight += certainty * torch.eye(vocabulary).roll(1, 1)  # both know what follows each token
    model, prompts = LogitDifferenceModel(target, assistant, alpha, top_filter), torch.arange(vocabulary)[:, None]
    assert torch.equal(model.generate(prompts, max_new_tokens=1)[:, 1], model(prompts)[:, -1].argmax(-1))


def own_generation(vocabulary, **accepted):
    """A model that says token 5 after each one, and a `generate` that knows of no assistant, as many users' have."""

    class Own(Bigram):
        if accepted:

            def generate(self, input_ids, max_new_tokens, **ignored):
                return self.recite(input_ids, max_new_tokens)
        else:

            def generate(self, input_ids, max_new_tokens, temperature=1.0):
                return self.recite(input_ids, max_new_tokens)

        def recite(self, input_ids, max_new_tokens):
            return torch.cat([input_ids, torch.full((len(input_ids), max_new_tokens), 5)], 1)

    return Own(vocabulary)


@pytest.mark.parametrize("accepted", [{}, {"anything": True}], ids=["two options", "any option"])
def test_a_targets_own_generate_is_not_asked(accepted):
    target, assistant = own_generation(8, **accepted), Bigram(8, seed=1)
    with torch.no_grad():
        target.table.weight[:, 5] = assistant.table.weight[:, 5] = 20.0
    model = LogitDifferenceModel(target, assistant, alpha=2.0)
    answer = model.generate(IDS, max_new_tokens=2)
    assert torch.equal(answer[:, 3], model(IDS)[:, -1].argmax(-1))
    assert not (answer[:, 3:] == 5).any()


def test_logits_that_are_no_numbers_are_an_error():
    (logits,) = random_logits(1, 2, 4)
    for value in (math.nan, math.inf):
        broken = logits.index_fill(1, torch.tensor([0]), value)
        with pytest.raises(NumericalError, match="target"):
            subtract_logits(broken, logits, alpha=1.0)
        with pytest.raises(NumericalError, match="assistant"):
            subtract_logits(logits, broken, alpha=1.0)
    ruled_out = logits.index_fill(1, torch.tensor([0]), -math.inf)  # as processors of transformers leave them
    assert subtract_logits(ruled_out, logits, alpha=1.0, top_filter=0.1).softmax(-1)[:, 0].count_nonzero() == 0


def test_an_offset_is_what_training_changed():
    target, before, after = (Bigram(5, seed=seed) for seed in (1, 2, 3))
    offset = OffsetModel(target, after, before, weight=0.4)(IDS)
    torch.testing.assert_close(offset, target(IDS) + 0.4 * (after(IDS) - before(IDS)))
    assert torch.equal(OffsetModel(target, before, before, weight=9.0)(IDS), target(IDS))


def test_bad_input():
    target, assistant = Bigram(5), Bigram(6)
    with pytest.raises(InvalidInputError, match="one vocabulary"):
        LogitDifferenceModel(target, assistant)(IDS)
    with pytest.raises(InvalidInputError, match="alpha"):
        LogitDifferenceModel(target, target, alpha=-1.0)
    with pytest.raises(InvalidInputError, match="top_filter"):
        LogitDifferenceModel(target, target, top_filter=1.0)
    with pytest.raises(InvalidInputError, match="ratio"):
        relative_top_mask(torch.zeros(3), 0.0)
    with pytest.raises(InvalidInputError, match="for models of transformers"):
        LogitDifferenceModel(target, target).generate(IDS, max_new_tokens=1, do_sample=True)
    with pytest.raises(InvalidInputError, match="no other to choose"):
        relative_top_mask(torch.zeros(3, 1), 0.5)
    with pytest.raises(InvalidInputError, match="Bigram takes tokens, but not attention_mask"):
        LogitDifferenceModel(target, target)(IDS, attention_mask=torch.ones_like(IDS))
    with pytest.raises(InvalidInputError, match=r"between 5 and 5 .*; tokenise with its vocabulary"):
        LogitDifferenceModel(target, target)(torch.tensor([[5]]))
    with pytest.raises(InvalidInputError, match="max_new_tokens"):
        LogitDifferenceModel(target, target).generate(IDS, max_new_tokens=-1)
    with pytest.raises(InvalidInputError, match="must return logits"):
        LogitDifferenceModel(nn.Flatten(), target)(IDS)
