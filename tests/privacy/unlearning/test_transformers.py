"""Unlearning of transformers' own causal models, built small from a configuration."""

import pytest
import torch
from torch import nn

from assay.core import seeded
from assay.privacy import LogitDifferenceModel, build_assistant
from assay.privacy.unlearning import QAExamples, token_logits
from assay.privacy.unlearning.logit_models import subtract_logits

transformers = pytest.importorskip("transformers")

VOCABULARY = 23
IDS = torch.randint(1, VOCABULARY, (2, 5), generator=seeded(0))
PADDED = torch.cat([torch.tensor([[0, 0, 0], [7, 0, 0]]), IDS], dim=1)
MASK = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1], [1, 0, 0, 1, 1, 1, 1, 1]])
OPTIONS = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=8, n_layer=3, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config)


def llama():
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.LlamaForCausalLM(config)


def qwen3():
    config = transformers.Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.Qwen3ForCausalLM(config)


@pytest.fixture(params=[gpt2, llama, qwen3], ids=lambda build: build.__name__)
def models(request):
    """A target and an assistant whose adapters say something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        target = request.param().double().eval()
        for parameter in target.parameters():  # or all tokens would be as likely
            nn.init.normal_(parameter, std=0.4)
    assistant = build_assistant(target, 2, lora_rank=2)
    for name, value in assistant.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(value, generator=seeded(1))
    return target, assistant


def test_an_assistant_is_a_shorter_model_with_adapters_in_all_its_dense_layers(models):
    target, assistant = models
    adapted = {name.rsplit(".", 2)[1] for name, value in assistant.named_parameters() if value.requires_grad}
    dense = {"c_attn", "c_proj", "c_fc"}
    if not isinstance(target, transformers.GPT2LMHeadModel):
        dense = {f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down")}
    assert adapted == dense
    assert (target.config.num_hidden_layers, assistant.config.num_hidden_layers) == (3, 2)
    plain = build_assistant(target, 3, lora_rank=2)
    torch.testing.assert_close(plain(IDS).logits, target(IDS).logits)


def test_forward_is_the_difference_of_both_models(models):
    target, assistant = models
    model = LogitDifferenceModel(target, assistant, alpha=0.7, top_filter=0.1)
    with torch.no_grad():
        expected = subtract_logits(target(IDS).logits, assistant(IDS).logits, alpha=0.7, top_filter=0.1)
        assert torch.equal(model(IDS), expected)
        examples = QAExamples(PADDED, PADDED.masked_fill(MASK == 0, -100).index_fill(1, torch.tensor([0]), -100), MASK)
        masked = token_logits(model, examples)
        torch.testing.assert_close(
            masked,
            subtract_logits(
                target(PADDED, attention_mask=MASK).logits,
                assistant(PADDED, attention_mask=MASK).logits,
                alpha=0.7,
                top_filter=0.1,
            ),
        )


@pytest.mark.parametrize("top_filter", [None, 0.1])
def test_generation_with_caches_is_the_argmax_of_the_forward_pass(models, top_filter):
    model = LogitDifferenceModel(*models, alpha=0.7, top_filter=top_filter)
    cached = model.generate(IDS, max_new_tokens=6, **OPTIONS)
    assert torch.equal(cached, model.generate(IDS, max_new_tokens=6, use_cache=False, **OPTIONS))
    tokens = IDS
    for _ in range(6):
        with torch.no_grad():
            target, assistant = (part(tokens).logits[:, -1] for part in models)
        tokens = torch.cat([tokens, model.next_log_p(target, assistant).argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(cached, tokens)


def test_nothing_subtracted_is_the_target(models):
    target, assistant = models
    alone = target.generate(IDS, max_new_tokens=6, attention_mask=torch.ones_like(IDS), **OPTIONS)
    assert torch.equal(LogitDifferenceModel(target, assistant, 0.0).generate(IDS, max_new_tokens=6, **OPTIONS), alone)
    assert not torch.equal(
        LogitDifferenceModel(target, assistant, 2.0).generate(IDS, max_new_tokens=6, **OPTIONS), alone
    )


@pytest.mark.parametrize("use_cache", [True, False])
def test_padding_on_the_left_changes_nothing(models, use_cache):
    model = LogitDifferenceModel(*models, alpha=0.7)
    padded = torch.cat([torch.zeros(2, 3, dtype=torch.long), IDS], dim=1)
    mask = torch.cat([torch.zeros(2, 3, dtype=torch.long), torch.ones_like(IDS)], dim=1)
    answer = model.generate(padded, max_new_tokens=5, attention_mask=mask, use_cache=use_cache, **OPTIONS)
    assert torch.equal(answer[:, 3:], model.generate(IDS, max_new_tokens=5, **OPTIONS))


def test_beams_are_those_of_a_search_without_caches(models):
    model = LogitDifferenceModel(*models, alpha=0.7)
    options = OPTIONS | {"num_beams": 3}
    cached, uncached = (model.generate(IDS, max_new_tokens=5, use_cache=c, **options) for c in (True, False))
    assert torch.equal(cached, uncached)


def test_a_plain_assistant_serves_a_model_of_transformers(models):
    target, assistant = models

    class Plain(nn.Module):
        def forward(self, input_ids):
            return assistant(input_ids).logits

    answer = LogitDifferenceModel(target, Plain(), alpha=0.7).generate(IDS, max_new_tokens=4, **OPTIONS)
    assert torch.equal(
        answer, LogitDifferenceModel(target, assistant, alpha=0.7).generate(IDS, max_new_tokens=4, **OPTIONS)
    )
