import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.privacy import build_assistant
from helpers.language_models import Stack

IDS = torch.tensor([[0, 3, 2], [4, 4, 1]])


def trainable(model):
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def test_at_first_the_assistant_is_the_target_without_its_later_blocks():
    target = Stack(blocks=3)
    assistant = build_assistant(target, 2, lora_rank=2)
    target.blocks = target.blocks[:2]
    assert torch.equal(assistant(IDS), target(IDS))


def test_only_adapters_are_trained_and_the_rest_stays_bit_by_bit():
    target = Stack()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    assistant = build_assistant(target, 1, lora_rank=2)
    assert set(trainable(assistant)) == {f"blocks.0.{place}.{name}" for place in (0, 2) for name in ("down", "up")}
    frozen = {name: value.clone() for name, value in assistant.named_parameters() if not value.requires_grad}
    optimizer = torch.optim.AdamW(trainable(assistant).values(), lr=0.1)
    for _ in range(3):
        assistant(IDS).square().sum().backward()
        optimizer.step()
    after = dict(assistant.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert not torch.equal(assistant.blocks[0][0].up, torch.zeros_like(assistant.blocks[0][0].up))
    assert all(torch.equal(target.state_dict()[name], value) for name, value in before.items())
    assert all(value.requires_grad and value.grad is None for value in target.parameters())


def test_later_blocks_are_not_even_copied():
    target = Stack(blocks=3)

    class Uncopied(nn.Module):
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    target.blocks[2] = Uncopied()
    assert len(build_assistant(target, 2).blocks) == 2


def test_tied_weights_stay_tied_and_apart_from_the_target():
    target = Stack(vocabulary=5, width=4)
    target.head.weight = target.embed.weight
    assistant = build_assistant(target, 1)
    assert assistant.head.weight is assistant.embed.weight
    assert assistant.head.weight is not target.head.weight


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.dense = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 4)

    def forward(self, x):
        return self.dense(self.attend(x, x, x)[0])


def test_attention_that_reads_its_weights_without_a_call_is_left_alone():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Sequential(Attention()), nn.Linear(4, 5))
    assistant = build_assistant(model, 1, blocks="1")
    assert set(trainable(assistant)) == {"1.0.dense.down", "1.0.dense.up"}
    torch.testing.assert_close(assistant(IDS), model(IDS))


def test_bad_input():
    with pytest.raises(InvalidInputError, match=r"1\.\.3"):
        build_assistant(Stack(), 4)
    with pytest.raises(InvalidInputError, match="lora_rank"):
        build_assistant(Stack(), 1, lora_rank=0)
    with pytest.raises(InvalidInputError, match="lora_alpha"):
        build_assistant(Stack(), 1, lora_alpha=-1.0)
    with pytest.raises(InvalidInputError, match="no submodule 'layers'"):
        build_assistant(Stack(), 1, blocks="layers")
    with pytest.raises(InvalidInputError, match="is a Embedding"):
        build_assistant(Stack(), 1, blocks="embed")
    with pytest.raises(InvalidInputError, match="say with blocks="):
        build_assistant(nn.Sequential(nn.Embedding(3, 3)), 1)
    with pytest.raises(InvalidInputError, match="no dense layer"):
        build_assistant(nn.ModuleList([nn.Tanh()]), 1)
    encoder = nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8)])
    with pytest.raises(InvalidInputError, match="past any adapter"):
        build_assistant(encoder, 1)
