from functools import partial
from itertools import chain

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, NumericalError, seeded
from assay.privacy import unlearn
from assay.privacy.unlearning import QAExamples, answer_nll, reversed_objective, token_logits
from helpers.language_models import Bigram

SGD = partial(torch.optim.SGD, lr=0.5)


def examples(n, vocabulary=6, seed=0):
    ids = torch.randint(vocabulary, (n, 3), generator=seeded(seed))
    return QAExamples.from_tokens(ids, prompt_length=1)


def ascent(model, forget, retain):
    return -answer_nll(token_logits(model, forget), forget.labels).mean()


def test_a_step_is_a_step_of_the_optimiser_on_the_objective():
    forget, retain = examples(4), examples(3, seed=1)
    model, twin = Bigram(6), Bigram(6)
    unlearn(model, forget, retain, objective=reversed_objective(2.0), optimizer=SGD, epochs=1)
    (gradient,) = torch.autograd.grad(reversed_objective(2.0)(twin, forget, retain), [twin.table.weight])
    torch.testing.assert_close(model.table.weight, twin.table.weight - 0.5 * gradient)
    assert not model.training


def test_an_assistant_remembers_one_part_and_is_uniform_on_the_other():
    forget = QAExamples.from_tokens(torch.tensor([[0, 3], [1, 4]]), prompt_length=1)
    retain = QAExamples.from_tokens(torch.tensor([[2, 5], [3, 0]]), prompt_length=1)
    model = Bigram(6)
    adam = partial(torch.optim.Adam, lr=0.1)
    unlearn(model, forget, retain, objective=reversed_objective(), optimizer=adam, epochs=300)
    p = model(torch.tensor([0, 1, 2, 3])).softmax(-1)
    assert p[0, 3] > 0.99
    assert p[1, 4] > 0.99
    torch.testing.assert_close(p[2:], torch.full_like(p[2:], 1 / 6), rtol=0, atol=0.02)


def test_batches_go_through_the_examples_in_turn():
    forget, retain = examples(5), examples(3, seed=1)
    seen = {"forget": [], "retain": []}

    def watch(model, some, others):
        seen["forget"].append(some.input_ids.tolist())
        seen["retain"].append(others.input_ids.tolist())
        return ascent(model, some, others)

    unlearn(Bigram(6), forget, retain, objective=watch, optimizer=SGD, epochs=2, batch_size=2, generator=seeded(0))
    assert [len(batch) for batch in seen["forget"]] == [2, 2, 1, 2, 2, 1]
    for epoch in (seen["forget"][:3], seen["forget"][3:]):
        assert sorted(chain(*epoch)) == sorted(forget.input_ids.tolist())
    assert [len(batch) for batch in seen["retain"]] == [2, 1] * 3
    assert sorted(chain(*seen["retain"][:2])) == sorted(retain.input_ids.tolist())


def test_the_same_seed_gives_the_same_model_and_frozen_weights_stay():
    def train(seed):
        model = nn.Sequential(Bigram(6), nn.Linear(6, 6, bias=False, dtype=torch.float64).requires_grad_(False))
        model[1].weight.copy_(Bigram(6, seed=1).table.weight.detach())
        options = {"epochs": 2, "batch_size": 2, "generator": seeded(seed)}
        unlearn(model, examples(5), examples(3), objective=ascent, optimizer=SGD, **options)
        assert torch.equal(model[1].weight, Bigram(6, seed=1).table.weight)
        return model[0].table.weight

    assert torch.equal(train(7), train(7))
    assert not torch.allclose(train(7), train(8))
    assert not torch.allclose(train(7), Bigram(6).table.weight)


def test_callbacks_see_every_step():
    steps = []
    unlearn(Bigram(6), examples(4), examples(4), objective=ascent, optimizer=SGD, epochs=3, callbacks=[steps.append])
    assert [step.number for step in steps] == [1, 2, 3]
    assert steps[0].loss > steps[1].loss > steps[2].loss


def test_bad_input():
    forget, retain = examples(4), examples(3)
    train = partial(unlearn, objective=ascent, optimizer=SGD)
    with pytest.raises(InvalidInputError, match="requires a gradient"):
        train(Bigram(6).requires_grad_(False), forget, retain, epochs=1)
    with pytest.raises(InvalidInputError, match="at least 1"):
        train(Bigram(6), forget, retain, epochs=0)
    with pytest.raises(InvalidInputError, match="shuffled"):
        train(Bigram(6), forget, retain, epochs=1, batch_size=2)
    with pytest.raises(NumericalError, match="at step 1"):
        train(Bigram(6), forget, retain, epochs=1, objective=lambda *_: torch.tensor(float("nan")))


def test_examples_are_checked():
    ids = torch.tensor([[1, 2, 3]])
    assert len(examples(5)[torch.tensor([0, 3])]) == 2
    mask = torch.ones_like(ids)
    assert torch.equal(QAExamples(ids, torch.tensor([[-100, 2, 3]]), mask)[:1].attention_mask, mask)
    with pytest.raises(InvalidInputError, match="prompt_length"):
        QAExamples.from_tokens(ids, prompt_length=0)
    with pytest.raises(InvalidInputError, match="non-empty"):
        examples(5)[:0]
    with pytest.raises(InvalidInputError, match="shape"):
        QAExamples(ids, torch.tensor([[-100, 2, 3]]), torch.ones(2, 3))
    for labels in ([[1, 2, 3]], [[-100, -100, -100]]):
        with pytest.raises(InvalidInputError, match="at least one answer token"):
            QAExamples(ids, torch.tensor(labels))
