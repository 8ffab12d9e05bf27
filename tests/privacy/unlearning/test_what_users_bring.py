"""Language models and autograd states as users have them."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.nets import LowRankAdapter
from assay.privacy import LogitDifferenceModel, OffsetModel, build_assistant, calibrate_alpha, unlearn
from assay.privacy.unlearning import QAExamples, answer_nll, relative_top_mask, reversed_objective, subtract_logits

SGD = partial(torch.optim.SGD, lr=0.5)


def table(seed=0, scale=1.0):
    return nn.Embedding.from_pretrained(scale * torch.randn(6, 6, generator=seeded(seed)), freeze=False)


def texts(seed=3):
    return QAExamples.from_tokens(torch.randint(6, (8, 3), generator=seeded(seed)), prompt_length=1)


@pytest.mark.parametrize("state", [torch.no_grad, torch.inference_mode])
def test_the_callers_autograd_state_does_not_matter(state):
    def unlearnt(model, examples):
        unlearn(model, examples, examples, objective=reversed_objective(), optimizer=SGD, epochs=3)
        return model.weight.detach().clone()

    expected = unlearnt(table(), texts())
    model = table()
    with state():
        found = unlearnt(model, texts())
        assistant = build_assistant(blocks_of_linear(), 1, lora_rank=2, blocks="1")
    assert torch.equal(found, expected)
    adapters = [value for value in assistant.parameters() if value.requires_grad]
    assert adapters
    assert not any(value.is_inference() for value in adapters)


def blocks_of_linear():
    return nn.Sequential(table(), nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), nn.Linear(6, 6))


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_an_assistant_of_a_network_with_weight_norm_is_its_first_blocks(norm):
    model = blocks_of_linear()
    norm(model[1][0]), norm(model[2])
    ids = texts().input_ids
    model(ids).sum().backward()
    assistant = build_assistant(nn.DataParallel(model), 1, lora_rank=2, blocks="1")
    expected = model[2](model[1][0](model[0](ids)))
    torch.testing.assert_close(assistant(ids), expected)
    assert len(model[1]) == 2
    assert isinstance(assistant[1][0], LowRankAdapter)
    kept = {value.data_ptr() for value in model.parameters()}
    assert kept.isdisjoint({value.data_ptr() for value in assistant.parameters()})


def test_probabilities_are_refused():
    target, assistant = table(0), table(1)
    soft = nn.Sequential(target, nn.Softmax(-1))
    examples = texts()
    logits, probabilities = target(examples.input_ids), soft(examples.input_ids)
    calls = (
        lambda: calibrate_alpha(soft, assistant, examples, forget_accuracy=0.5),
        lambda: LogitDifferenceModel(target, nn.Sequential(assistant, nn.Softmax(-1)))(examples.input_ids),
        lambda: subtract_logits(probabilities, logits, alpha=0.5),
        lambda: relative_top_mask(probabilities, 0.5),
        lambda: answer_nll(probabilities, examples.labels),
    )
    for call in calls:
        with pytest.raises(InvalidInputError, match="take the softmax off, or pass their logarithm"):
            call()
    torch.testing.assert_close(answer_nll(probabilities.log(), examples.labels), answer_nll(logits, examples.labels))


def test_a_model_that_draws_in_evaluation_mode_is_refused():
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = table()

        def forward(self, x):
            return F.dropout(self.table(x))

    with pytest.raises(InvalidInputError, match="dropout"):
        calibrate_alpha(Forgetful(), table(1), texts())


def test_a_mask_goes_to_the_models_that_are_looked_at():
    class Masked(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.table = table(seed, scale=3.0)

        def forward(self, x, attention_mask):
            return self.table(x) * attention_mask[..., None]

    plain = texts()
    masked = QAExamples(plain.input_ids, plain.labels, torch.ones_like(plain.input_ids))
    options = {"forget_accuracy": 0.9}
    expected = calibrate_alpha(table(0, scale=3.0), table(1, scale=3.0), plain, **options)
    assert calibrate_alpha(Masked(0), Masked(1), masked, **options) == expected


def test_an_objective_of_many_numbers_is_refused():
    examples = texts()
    objective = lambda model, forget, retain: answer_nll(model(forget.input_ids), forget.labels)  # noqa: E731
    with pytest.raises(InvalidInputError, match="average it"):
        unlearn(table(), examples, examples, objective=objective, optimizer=SGD, epochs=1)


@pytest.mark.usefixtures("as_users_run_it")
def test_models_of_other_vocabularies_are_refused():
    wider = nn.Embedding(6, 7)
    with pytest.raises(InvalidInputError, match="one vocabulary"):
        OffsetModel(table(), wider, wider)(texts().input_ids)
    with pytest.raises(InvalidInputError, match="one vocabulary"):
        calibrate_alpha(table(), wider, texts(), forget_accuracy=0.0)
