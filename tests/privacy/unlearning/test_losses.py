import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core import InvalidInputError, seeded
from assay.privacy.unlearning import (
    GradientAscentLoss,
    NPOLoss,
    RefusalDPOLoss,
    ReversedUnlearningLoss,
    answer_nll,
    retain_divergence,
)
from assay.privacy.unlearning.losses import divergence_from_uniform
from helpers.language_models import random_logits


def draw(seed=0):
    """Two tensors of logits, of three examples of five tokens, and labels that ask for two to four of them."""
    logits, reference = random_logits(2, 3, 5, 7, seed=seed)
    labels = torch.randint(7, (3, 5), generator=seeded(seed))
    for row, first in enumerate((1, 2, 3)):
        labels[row, :first] = -100
    return logits, reference, labels


def by_hand(logits, labels):
    """Each document's negative log-likelihood, token by token."""
    sums, counts = [], []
    for row, tokens in zip(logits.softmax(-1).tolist(), labels.tolist(), strict=True):
        terms = [-math.log(row[t - 1][token]) for t, token in enumerate(tokens) if token != -100]
        sums.append(sum(terms))
        counts.append(len(terms))
    return torch.tensor(sums, dtype=torch.float64), torch.tensor(counts)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_answers_are_scored_token_by_token(seed):
    logits, _, labels = draw(seed)
    sums, counts = by_hand(logits, labels)
    torch.testing.assert_close(answer_nll(logits, labels, mean=False), sums)
    torch.testing.assert_close(answer_nll(logits, labels), sums / counts)
    torch.testing.assert_close(-GradientAscentLoss()(logits, labels), sums.sum() / counts.sum())


@given(st.integers(0, 1000), st.integers(2, 50))
@settings(max_examples=20)
def test_uniformity_is_the_divergence_from_the_uniform_distribution(seed, vocabulary):
    (logits,) = random_logits(1, 4, vocabulary, seed=seed)
    uniform = torch.full_like(logits, 1 / vocabulary)
    divergence = F.kl_div(logits.log_softmax(-1), uniform, reduction="batchmean")
    cross_entropy = F.cross_entropy(logits, uniform)
    torch.testing.assert_close(divergence_from_uniform(logits), divergence)
    torch.testing.assert_close(divergence_from_uniform(logits), cross_entropy - math.log(vocabulary))
    assert divergence_from_uniform(torch.full_like(logits, 7.0)).abs() < 1e-12
    assert divergence_from_uniform(logits) > 0


def test_the_reversed_loss_counts_asked_tokens_only():
    forget, retain, labels = draw()
    mask = labels != -100
    expected = -GradientAscentLoss()(forget, labels) + 3.0 * divergence_from_uniform(retain[:, :-1][mask[:, 1:]])
    torch.testing.assert_close(ReversedUnlearningLoss(3.0)(forget, labels, retain, mask), expected)
    # What stands at places that nothing is asked of, the last among them, does not matter.
    changed = retain.clone()
    changed[:, -1] = 9.0
    changed[2, 0] = torch.arange(7)
    torch.testing.assert_close(ReversedUnlearningLoss(3.0)(forget, labels, changed, mask), expected)
    everything = ReversedUnlearningLoss(1.0)(forget, labels, retain) - ReversedUnlearningLoss(0.0)(
        forget, labels, retain
    )
    torch.testing.assert_close(everything, divergence_from_uniform(retain[:, :-1].flatten(0, 1)))


def test_the_reversed_loss_has_the_right_gradient():
    forget, retain, labels = draw()
    inputs = [value.requires_grad_() for value in (forget, retain)]
    assert torch.autograd.gradcheck(lambda f, r: ReversedUnlearningLoss()(f, labels, r), inputs)


def test_retain_divergence_is_summed_over_the_vocabulary():
    logits, reference, labels = draw()
    p, log_q = reference.softmax(-1), logits.log_softmax(-1)
    each = (p * (p.log() - log_q)).sum(-1)[:, :-1][labels[:, 1:] != -100]
    torch.testing.assert_close(retain_divergence(logits, reference, labels), each.mean())


def test_negative_preference_is_its_formula_and_becomes_ascent():
    logits, reference, labels = draw()
    (now, _), (before, _) = by_hand(logits, labels), by_hand(reference, labels)
    ratio = (before - now).exp()  # of the answers' probabilities, model over reference
    for beta in (0.1, 2.0):
        expected = (2 / beta * (1 + ratio**beta).log()).mean()
        torch.testing.assert_close(NPOLoss(beta)(logits, labels, reference), expected)
    # Where the model still is the reference, the gradient is that of ascent, summed over an answer's tokens.
    leaf = logits.requires_grad_()
    (preference,) = torch.autograd.grad(NPOLoss(0.7)(leaf, labels, logits.detach()), leaf)
    (ascent,) = torch.autograd.grad(-answer_nll(leaf, labels, mean=False).mean(), leaf)
    torch.testing.assert_close(preference, ascent)


def test_preferring_refusals_is_its_formula():
    logits, reference, labels = draw()
    refused, refused_reference, refusals = draw(seed=1)
    rewards = [by_hand(model, answer)[0] for model, answer in ((logits, labels), (reference, labels))]
    others = [by_hand(model, answer)[0] for model, answer in ((refused, refusals), (refused_reference, refusals))]
    margin = (others[1] - others[0]) - (rewards[1] - rewards[0])
    expected = -2 / 0.3 * torch.sigmoid(0.3 * margin).log().mean()
    loss = RefusalDPOLoss(0.3)(logits, labels, reference, refused, refusals, refused_reference)
    torch.testing.assert_close(loss, expected)


def test_bad_input():
    with pytest.raises(InvalidInputError, match="retain_weight"):
        ReversedUnlearningLoss(-1.0)
    for loss in (NPOLoss, RefusalDPOLoss):
        with pytest.raises(InvalidInputError, match="beta"):
            loss(0.0)
