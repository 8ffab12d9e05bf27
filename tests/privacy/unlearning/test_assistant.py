import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.core import InvalidInputError
from assay.privacy import build_assistant
from helpers.language_models import Stack

IDS = torch.tensor([[0, 3, 2], [4, 4, 1]])


def trainable(model):
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def test_at_first_the_assistant_is_the_target_without_its_later_blocks():
    target = Stack(blocks=3)
    assistant = build_assistant(target, 2, lora_rank=2, blocks="blocks")
    target.blocks = target.blocks[:2]
    assert torch.equal(assistant(IDS), target(IDS))


def test_only_adapters_are_trained_and_the_rest_stays_bit_by_bit():
    target = Stack()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    assistant = build_assistant(target, 1, lora_rank=2, blocks="blocks")
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
    assert len(build_assistant(target, 2, blocks="blocks").blocks) == 2


def test_tied_weights_stay_tied_and_apart_from_the_target():
    target = Stack(vocabulary=5, width=4)
    target.head.weight = target.embed.weight
    assistant = build_assistant(target, 1, blocks="blocks")
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


class Head(nn.Module):
    """One head of attention, as in lectures."""

    def __init__(self, width, size):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(width, size, bias=False) for _ in range(3))

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x), is_causal=True)


class MultiHead(nn.Module):
    def __init__(self, width, heads, *, summed):
        super().__init__()
        self.heads = nn.ModuleList([Head(width, width if summed else width // heads) for _ in range(heads)])
        self.summed, self.proj = summed, nn.Linear(width, width)

    def forward(self, x):
        answers = [head(x) for head in self.heads]
        return self.proj(sum(answers) if self.summed else torch.cat(answers, -1))


class Block(nn.Module):
    def __init__(self, width, heads, *, summed, experts):
        super().__init__()
        self.sa = MultiHead(width, heads, summed=summed)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(width, 6), nn.Linear(6, width)) for _ in range(experts)])

    def forward(self, x):
        x = x + self.sa(x)
        return x + sum(expert(x) for expert in self.experts)


class LectureGPT(nn.Module):
    """A model whose blocks stand in `nn.Sequential`, and hold longer lists of heads and of experts."""

    def __init__(self, blocks=3, heads=4, *, summed=False, experts=1):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed, self.head = nn.Embedding(5, 8), nn.Linear(8, 5)
            self.blocks = nn.Sequential(*(Block(8, heads, summed=summed, experts=experts) for _ in range(blocks)))

    def forward(self, input_ids):
        return self.head(self.blocks(self.embed(input_ids)))


@pytest.mark.parametrize("options", [{}, {"summed": True}, {"heads": 8}, {"experts": 8}, {"blocks": 1}], ids=str)
def test_the_stack_of_blocks_is_found_around_heads_and_experts(options):
    target = LectureGPT(**options)
    assistant = build_assistant(target, 1, lora_rank=2)
    assert len(assistant.blocks) == 1
    dense = sum(isinstance(module, nn.Linear) for module in target.blocks[0].modules())
    assert len(trainable(assistant)) == 2 * dense
    torch.testing.assert_close(assistant(IDS), target.head(target.blocks[0](target.embed(IDS))))


def test_a_model_of_two_stacks_must_be_told_which():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = LectureGPT().blocks, LectureGPT(blocks=4).blocks

    with pytest.raises(InvalidInputError, match=r"several stacks .* candidates: 'encoder', 'decoder'"):
        build_assistant(Two(), 1)


def test_an_assistant_that_does_not_run_is_not_returned():
    with pytest.raises(InvalidInputError, match=r"does not run .* name the stack of whole blocks"):
        build_assistant(LectureGPT(), 1, blocks="blocks.0.sa.heads")

    class OfThree(LectureGPT):
        def forward(self, input_ids):
            return super().forward(input_ids) + input_ids.new_zeros(1, 3, 1)

    with pytest.raises(InvalidInputError, match=r"tokens of shape \(1, 2\).* input_ids="):
        build_assistant(OfThree(), 1)
    assert len(build_assistant(OfThree(), 1, input_ids=IDS).blocks) == 1


def test_bad_input():
    with pytest.raises(InvalidInputError, match=r"1\.\.3"):
        build_assistant(Stack(), 4, blocks="blocks")
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
        build_assistant(nn.Sequential(nn.Tanh()), 1, blocks="")
    encoder = nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8)])
    with pytest.raises(InvalidInputError, match="past any adapter"):
        build_assistant(encoder, 1)
    with pytest.raises(InvalidInputError, match=r"no stack of blocks that hold attention .* candidates: 'blocks'"):
        build_assistant(Stack(), 1)
