import pytest
import torch

from assay.core import InvalidInputError
from assay.privacy.unlearning import QAExamples, answer_logits, answer_nll, token_logits

pytestmark = pytest.mark.usefixtures("as_users_run_it")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_tokens_of_any_integer_type_are_those_of_int64(dtype):
    ids = torch.tensor([[1, 2, 3], [3, 0, 2]])
    expected, found = (QAExamples.from_tokens(each, prompt_length=1) for each in (ids, ids.to(dtype)))
    assert torch.equal(found.input_ids, expected.input_ids)
    assert torch.equal(found.labels, expected.labels)
    logits = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(answer_nll(logits, expected.labels.to(torch.int32)), answer_nll(logits, expected.labels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_what_is_no_token_is_refused(dtype):
    with pytest.raises(InvalidInputError, match="integer tokens"):
        QAExamples.from_tokens(torch.ones(1, 3).to(dtype), prompt_length=1)


def test_an_answer_must_be_asked_for():
    logits, labels = torch.zeros(2, 3, 4), torch.tensor([[-100, 1, 2], [-100, -100, -100]])
    assert len(answer_logits(logits, labels)[0]) == 2
    with pytest.raises(InvalidInputError, match="example 1 has no answer token"):
        answer_nll(logits, labels)
    for call in (answer_nll, answer_logits):
        with pytest.raises(InvalidInputError, match="no answer token"):
            call(logits, torch.full((2, 3), -100))


def test_labels_must_fit_the_scores():
    logits, labels = torch.zeros(2, 3, 4), torch.tensor([[-100, 1, 2], [-100, 0, 3]])
    for call in (answer_nll, answer_logits):
        with pytest.raises(InvalidInputError, match="tokens from 0 to 3, but the scores are of 3"):
            call(logits[..., :3], labels)
        with pytest.raises(InvalidInputError, match="shape"):
            call(logits[:1], labels)


def test_labels_must_be_the_tokens_themselves():
    ids = torch.tensor([[1, 2, 3]])
    assert len(QAExamples(ids, torch.tensor([[-100, 2, -100]]))) == 1
    with pytest.raises(InvalidInputError, match="labels differ from input_ids"):
        QAExamples(ids, torch.tensor([[-100, 3, -100]]))


def test_what_a_model_cannot_read_is_said():
    model, ids = torch.nn.Embedding(3, 3), torch.tensor([[1, 2, 3]])
    with pytest.raises(InvalidInputError, match=r"3 tokens between 1 and 3 .*; tokenise with its vocabulary"):
        token_logits(model, QAExamples.from_tokens(ids, prompt_length=1))
    masked = QAExamples(ids, torch.tensor([[-100, 2, 3]]), torch.ones_like(ids))
    with pytest.raises(InvalidInputError, match="Embedding takes tokens, but not attention_mask"):
        token_logits(model, masked)
    with pytest.raises(InvalidInputError, match=r"shape \(n, t\), got \(3,\)"):
        QAExamples.from_tokens(ids[0], prompt_length=1)
