"""Attention logits, computed again from the inputs of a layer."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, isolated_rng, seeded
from assay.generalization import StabilityMonitor
from assay.generalization.instability.attention import attention_layers


def draw(*shape, seed=3):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def entropy(weights):
    weights = weights.detach()
    return float(-(weights * weights.clamp_min(1e-300).log()).sum(-1).mean())


def padding():
    mask = torch.zeros(6, 4, dtype=torch.bool)
    mask[0, 2:] = mask[3, 1] = True
    return mask


MASKS = {
    "none": {},
    "causal": {"attn_mask": torch.ones(5, 4).triu(1).bool()},
    "bias": {"attn_mask": draw(5, 4, seed=4)},
    "by head": {"attn_mask": draw(12, 5, 4, seed=5) > 1.5},
    "padding": {"key_padding_mask": padding()},
    "both": {"key_padding_mask": padding().double() * -1e9, "attn_mask": draw(5, 4, seed=4)},
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(
    "options", [{"batch_first": True}, {"bias": False}, {"batch_first": True, "kdim": 6, "vdim": 3}], ids=str
)
def test_multihead_attention_is_followed_through_its_masks(options, masks):
    with isolated_rng(0):
        layer = nn.MultiheadAttention(8, 2, dropout=0.5, **options).double()
    q, k, v = draw(6, 5, 8), draw(6, 4, options.get("kdim", 8), seed=6), draw(6, 4, options.get("vdim", 8), seed=7)
    if not options.get("batch_first"):
        q, k, v = (u.transpose(0, 1) for u in (q, k, v))
    with StabilityMonitor(layer, n_rows=6) as monitor:
        layer(q, k, value=v, need_weights=False, **masks)
        layer.eval()
        _, weights = layer(q, k, v, average_attn_weights=False, **masks)
    in_training, in_evaluation = monitor.records
    assert in_training.max_logits == in_evaluation.max_logits  # dropout comes behind the softmax
    assert in_training.entropies[""] == pytest.approx(entropy(weights))
    # Differences of the logits in a row are those of the log-weights; the largest follows from the projections.
    wq, wk = (layer.q_proj_weight, layer.k_proj_weight) if "kdim" in options else layer.in_proj_weight.chunk(3)[:2]
    bq, bk = (0, 0) if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)[:2]
    if not options.get("batch_first"):
        q, k = q.transpose(0, 1), k.transpose(0, 1)
    heads = [((q @ wq.T + bq)[..., part] @ (k @ wk.T + bk)[..., part].mT) / 2 for part in (slice(4), slice(4, 8))]
    largest = torch.stack(heads, 1)[weights > 0].abs().max()
    assert in_evaluation.max_logits[""] == pytest.approx(largest.item())


def test_one_sample_without_a_batch_axis_is_a_batch_of_one():
    with isolated_rng(0):
        layer = nn.MultiheadAttention(8, 2).double().eval()
    x = draw(5, 8)
    with StabilityMonitor(layer) as monitor, torch.no_grad():
        layer(x, x, x)
        layer(x[:, None], x[:, None], x[:, None])
    alone, batch = monitor.records
    assert alone.max_logits == batch.max_logits
    assert alone.entropies[""] == pytest.approx(batch.entropies[""])


def test_layers_with_keys_of_their_own_are_refused():
    for options in ({"add_zero_attn": True}, {"add_bias_kv": True}):
        with pytest.raises(InvalidInputError, match="adds keys of its own"):
            attention_layers(nn.Sequential(nn.MultiheadAttention(8, 2, **options)))
