import math
from types import SimpleNamespace

import matplotlib
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from assay.core import InvalidInputError, isolated_rng, seeded
from assay.generalization import IndependentAdamW, StabilityMonitor
from assay.nets import DecoderTransformer

matplotlib.use("Agg")


def decoder(**options):
    return DecoderTransformer(11, 8, 2, 2, generator=seeded(1), **options).double()


def tokens(n=6, t=5):
    return torch.randint(11, (n, t), generator=seeded(2))


def draw(*shape, seed=3):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def built(build):
    with isolated_rng(0):
        return build().double()


def rms(value):
    return value.detach().square().mean().sqrt().item()


def entropy(weights):
    weights = weights.detach()
    return float(-(weights * weights.clamp_min(1e-300).log()).sum(-1).mean())


def hooks_of(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("qk_layernorm", [True, False])
def test_the_decoders_logits_and_outputs_are_those_of_its_own_layers(qk_layernorm):
    model = decoder(qk_layernorm=qk_layernorm)
    with StabilityMonitor(model, n_rows=2) as monitor, torch.no_grad():
        output = model(tokens())
    (record,) = monitor.records
    with torch.no_grad():
        x = model.embedding(tokens())
        for k, block in enumerate(model.blocks):
            q, keys = block.attention.queries_and_keys(block.attention_norm(x)[:2])
            logits = (q @ keys.mT) / 2
            seen = torch.ones(5, 5).tril().bool()
            weights = torch.where(seen, logits.exp(), 0) / torch.where(seen, logits.exp(), 0).sum(-1, keepdim=True)
            assert record.max_logits[f"blocks.{k}.attention"] == pytest.approx(float(logits[..., seen].abs().max()))
            assert record.entropies[f"blocks.{k}.attention"] == pytest.approx(entropy(weights))
            x = block(x)
            assert record.output_rms[f"blocks.{k}"] == pytest.approx(rms(x))
    assert record.log_z == pytest.approx(float(output.exp().sum(-1).log().mean()))
    assert record.lowest_output == pytest.approx(float(output.min()))
    assert record.gradient_rms == record.update_rms == {}


def padding():
    mask = torch.zeros(6, 4, dtype=torch.bool)
    mask[0, 2:] = mask[3, 1] = True
    return mask


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


@pytest.mark.parametrize("grad", [True, False])
def test_pytorchs_encoder_is_watched_and_answers_as_before(grad):
    model, x = built(encoder).eval(), draw(6, 4, 8)
    with torch.set_grad_enabled(grad):
        before = model(x, src_key_padding_mask=padding())
        with StabilityMonitor(model) as monitor:
            during = model(x, src_key_padding_mask=padding())
    kept = ~padding()[:, : before.shape[1]]
    torch.testing.assert_close(during[kept], before[kept])
    assert torch.backends.mha.get_fastpath_enabled()
    assert list(monitor.records[0].max_logits) == ["layers.0.self_attn", "layers.1.self_attn"]
    assert list(monitor.records[0].output_rms) == ["layers.0", "layers.1"]


def step(model, optimizer, seed=2, scale=1.0):
    given = torch.randint(11, (6, 5), generator=seeded(seed))
    optimizer.zero_grad()
    (scale * F.cross_entropy(model(given[:, :-1]).flatten(0, 1), given[:, 1:].flatten())).backward()
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    optimizer.step()
    return gradients


@pytest.mark.parametrize("kind", [IndependentAdamW, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_gradients_and_updates_are_what_the_optimiser_did(kind, amsgrad):
    if amsgrad and kind is IndependentAdamW:
        pytest.skip("has no such option")
    model, options = decoder(), {"amsgrad": True} if amsgrad else {}
    optimizer = kind(model.parameters(), lr=1e-3, weight_decay=0.0, **options)
    with StabilityMonitor(model, optimizer, every=2) as monitor:
        for seed in range(5):
            before = {name: value.detach().clone() for name, value in model.named_parameters()}
            gradients = step(model, optimizer, seed)
    assert [record.step for record in monitor.records] == [0, 2, 4]
    record = monitor.records[-1]
    for name, value in model.named_parameters():
        assert record.gradient_rms[name] == pytest.approx(rms(gradients[name]))
        assert record.update_rms[name] == pytest.approx(rms((before[name] - value) / 1e-3), rel=1e-6)
        assert record.parameter_rms[name] == pytest.approx(rms(value))


def test_updates_vanish_where_the_gradient_reaches_eps():
    """With gradients g, Adam's first update is g / (|g| + eps)."""
    for eps, low, high in ((1e-8, 0.0, 0.2), (1e-15, 0.8, 1.0)):
        model = nn.Sequential(nn.Linear(4, 3)).double()
        optimizer = IndependentAdamW(model.parameters(), eps=eps)
        with StabilityMonitor(model, optimizer) as monitor:
            (1e-9 * model(draw(5, 4)).sin().mean()).backward()
            optimizer.step()
        assert low <= monitor.records[0].update_rms["0.weight"] <= high
        assert "no attention layer was seen" in str(monitor.records[0])


def test_squares_of_small_gradients_do_not_underflow():
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with StabilityMonitor(model, optimizer) as monitor:
        (1e-30 * model(torch.ones(1, 1))).sum().backward()
        optimizer.step()
    assert monitor.records[0].gradient_rms["0.weight"] == pytest.approx(1e-30)
    assert monitor.records[0].update_rms == {}


def test_training_is_the_same_with_and_without_and_all_hooks_go():
    watched, alone = decoder(), decoder()
    for model in (watched, alone):
        optimizer = torch.optim.AdamW(model.parameters())
        if model is watched:
            monitor = StabilityMonitor(model, optimizer)
        for seed in range(3):
            step(model, optimizer, seed)
        if model is watched:
            monitor.remove()
            assert len(optimizer._optimizer_step_post_hooks) == 0
    assert hooks_of(watched) == 0
    assert all(torch.equal(one, two) for one, two in zip(watched.parameters(), alone.parameters(), strict=True))
    assert len(monitor.records) == 3
    assert monitor.average(2).log_z == pytest.approx(sum(record.log_z for record in monitor.records[1:]) / 2)
    assert len(monitor.plot().lines) == 2
    with pytest.raises(InvalidInputError, match="3 records"):
        monitor.average(4)


def test_an_error_in_the_network_leaves_nothing_behind():
    model = decoder()
    with pytest.raises(IndexError), StabilityMonitor(model) as monitor:
        model(tokens() + 11)
    assert torch.backends.mha.get_fastpath_enabled()
    assert hooks_of(model) == 0
    assert monitor.records == []


class Own(nn.Module):
    """An attention layer of a user, called twice in a pass."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def attention_logits(self, x):
        logits = x @ self.inner(x).mT
        return logits[:, None].masked_fill(torch.ones(logits.shape[-1], logits.shape[-1]).triu(1).bool(), -torch.inf)

    def forward(self, x):
        return self.attention_logits(x).softmax(-1)[:, 0] @ x


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Own()

    def forward(self, x):
        return SimpleNamespace(logits=self.attention(self.attention(x)))


def test_a_users_layer_joins_in_by_its_method():
    model, x = built(Twice), draw(6, 5, 8)
    with StabilityMonitor(model, n_rows=3, blocks=["attention"]) as monitor, torch.no_grad():
        output = model(x).logits
        passes = [model.attention.attention_logits(each)[:3] for each in (x, model.attention(x))]
    (record,) = monitor.records
    finite = [logits[logits.isfinite()].abs().max().item() for logits in passes]
    assert record.max_logits["attention"] == pytest.approx(max(finite))
    assert record.entropies["attention"] == pytest.approx(sum(entropy(each.softmax(-1)) for each in passes) / 2)
    assert record.output_rms["attention"] == pytest.approx(rms(output))
    assert record.log_z == pytest.approx(output.logsumexp(-1).mean().item())


def test_divergence_is_recorded_and_not_hidden():
    model = decoder(qk_layernorm=False)
    with torch.no_grad():
        model.blocks[0].attention.query.weight[0, 0] = math.nan
    with StabilityMonitor(model) as monitor, torch.no_grad():
        model(tokens())
    assert math.isnan(monitor.records[0].max_logits["blocks.0.attention"])
    assert "nan" in str(monitor.records[0])


def test_what_cannot_be_watched_is_refused():
    model = decoder()
    with pytest.raises(InvalidInputError, match=r"no module 'head\.0'"):
        StabilityMonitor(model, blocks=["head.0"])
    with pytest.raises(InvalidInputError, match="no parameter of the model"):
        StabilityMonitor(model, torch.optim.SGD(decoder().parameters()))
    with pytest.raises(InvalidInputError, match="adds keys of its own"):
        StabilityMonitor(nn.MultiheadAttention(8, 2, add_zero_attn=True))
    assert hooks_of(model) == 0
