import pytest
import torch
from torch.nn import functional as F

from assay.core import InvalidInputError, seeded
from assay.nets import DecoderTransformer, QKLayerNorm
from assay.nets.decoder import EnforcedKappa, rotary


def decoder(**options):
    return DecoderTransformer(11, 8, 2, 2, generator=seeded(1), **options).double()


def tokens(n=3, t=6):
    return torch.randint(11, (n, t), generator=seeded(2))


def hidden(model, n=3, t=6):
    """Return what enters the attention of the first block."""
    return model.blocks[0].attention_norm(model.embedding(tokens(n, t)))


@pytest.mark.parametrize("options", [{}, {"qk_layernorm": False}, {"qk_layernorm": False, "kappa": 2.0}])
def test_the_logits_are_those_of_the_formula_written_position_by_position(options):
    model = decoder(**options)
    for row, found in zip(tokens(), model(tokens()), strict=True):
        x = model.embedding.weight[row]
        for block in model.blocks:
            layer, z = block.attention, F.layer_norm(x, (8,), block.attention_norm.weight, eps=1e-6)
            q, k, v = (z @ part.weight.T for part in (layer.query, layer.key, layer.value))
            mixed = torch.zeros_like(x)
            for head in (slice(0, 4), slice(4, 8)):
                for t in range(len(row)):
                    scores = [_score(layer, q[t, head], t, k[s, head], s) for s in range(t + 1)]
                    mixed[t, head] = torch.stack(scores).softmax(0) @ v[: t + 1, head]
            x = x + mixed @ layer.output.weight.T
            z = F.layer_norm(x, (8,), block.mlp_norm.weight, eps=1e-6)
            x = x + F.gelu(z @ block.mlp[0].weight.T) @ block.mlp[2].weight.T
        expected = F.layer_norm(x, (8,), model.norm.weight, eps=1e-6) @ model.head.weight.T
        torch.testing.assert_close(found, expected)


def _score(layer, q, t, k, s):
    """Return the attention logit of a query at position t and a key at s, with complex rotations."""
    if layer.normalize is not None:
        q, k = layer.normalize(q[None, None, None], k[None, None, None])
        q, k = q.flatten(), k.flatten()
    rates = 10_000.0 ** (-torch.arange(2, dtype=torch.float64) / 2)
    turned = [torch.complex(u[:2], u[2:]) * torch.exp(1j * place * rates) for u, place in ((q, t), (k, s))]
    return (turned[0] * turned[1].conj()).real.sum() / 2


def test_no_position_sees_a_later_token():
    model, given = decoder(), tokens()
    changed = given.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 11
    before, after = model(given), model(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=0)
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_rotated_products_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 6, generator=seeded(3), dtype=torch.float64)
    q, k = rotary(q.expand(1, 1, 9, 6)), rotary(k.expand(1, 1, 9, 6))
    products = (q @ k.mT)[0, 0]
    for distance in range(-4, 5):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    torch.testing.assert_close(q.norm(dim=-1), q.norm(dim=-1)[..., :1].expand(1, 1, 9))


def test_qk_layernorm_bounds_the_logits_and_takes_the_size_of_the_projections_out():
    model = decoder()
    layer = model.blocks[0].attention
    with torch.no_grad():
        layer.normalize.query_norm.weight.copy_(torch.tensor([1.0, -3.0, 0.5, 2.0]))
        layer.normalize.key_norm.weight.fill_(2.0)
        x = hidden(model)
        before = layer.attention_logits(x)
        layer.query.weight.mul_(1e3)
        layer.key.weight.mul_(1e3)
        after = layer.attention_logits(x)
    finite = before.isfinite()
    assert before[finite].abs().max() <= 4**0.5 * 3 * 2
    # The constant in the LayerNorm is felt where a query is small.
    torch.testing.assert_close(before[finite], after[finite], rtol=1e-4, atol=1e-4)


def test_the_bound_of_qk_layernorm_is_reached():
    q = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64).reshape(1, 1, 1, 4)
    norm = QKLayerNorm(4).double()
    assert torch.mul(*norm(1e6 * q, 1e6 * q)).sum().item() / 4**0.5 == pytest.approx(4**0.5)


def test_without_qk_layernorm_logits_grow_with_the_square_of_the_projections():
    model = decoder(qk_layernorm=False)
    layer = model.blocks[0].attention
    with torch.no_grad():
        x = hidden(model)
        before = layer.attention_logits(x)
        layer.query.weight.mul_(3.0)
        layer.key.weight.mul_(3.0)
        torch.testing.assert_close(layer.attention_logits(x), 9 * before)


def test_kappa_is_the_mean_square_of_queries_and_keys():
    model = decoder(qk_layernorm=False, kappa=50.0)
    layer = model.blocks[0].attention
    with torch.no_grad():
        for u in layer.queries_and_keys(hidden(model)):
            torch.testing.assert_close(u.square().mean(-1), torch.full(u.shape[:-1], 50.0, dtype=u.dtype))
    q = torch.randn(1, 1, 1, 4, generator=seeded(4), dtype=torch.float64)
    q, k = EnforcedKappa(50.0)(q, 2 * q)
    assert ((q * k).sum() / 4**0.5).item() == pytest.approx(50.0 * 4**0.5)


def test_the_last_norm_divides_gradients_by_the_size_of_the_activations():
    """The gradient in x of a LayerNorm with scale a is (g - mean g - z mean(g z)) / s, with g = a times that in z."""
    model, seen = decoder(), {}
    with torch.no_grad():
        model.norm.weight.copy_(torch.rand(8, generator=seeded(5)) + 0.5)

    def keep(module, inputs, output):
        seen["x"], seen["z"] = inputs[0], output
        inputs[0].retain_grad()
        output.retain_grad()

    handle = model.norm.register_forward_hook(keep)
    model(tokens()).logsumexp(-1).sum().backward()
    handle.remove()
    x, g = seen["x"].detach(), model.norm.weight.detach() * seen["z"].grad
    size = (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    z = (x - x.mean(-1, keepdim=True)) / size
    expected = (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True)) / size
    torch.testing.assert_close(seen["x"].grad, expected)


def test_the_initialisation_has_the_stated_law():
    model = DecoderTransformer(400, 64, 1, 4, generator=seeded(6))
    block = model.blocks[0]
    # The fewest weights are 4096: the standard deviation is known to 1.1%, so 5% is over four standard errors.
    assert model.embedding.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    for layer, fan_in in ((block.attention.query, 64), (block.mlp[0], 64), (block.mlp[2], 256), (model.head, 64)):
        assert layer.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
        assert layer.weight.abs().max() <= 2 * fan_in**-0.5 / 0.8796
    assert [name for name, _ in model.named_parameters() if "bias" in name] == []


def test_full_muparam_changes_head_queries_and_scale():
    plain, full = decoder(), decoder(mup_base_dim=2)
    assert full.blocks[0].attention.scale == 1 / 4
    assert not full.blocks[1].attention.query.weight.any()
    torch.testing.assert_close(full.head.weight, plain.head.weight / 2)  # sqrt(2) / 8 for 1 / sqrt(8)
    torch.testing.assert_close(full.blocks[1].attention.key.weight, plain.blocks[1].attention.key.weight)


def test_draws_come_from_the_generator():
    before = torch.get_rng_state()
    model, twin = decoder(), decoder()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(model(tokens()), twin(tokens()))


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((11, 6, 1, 2), {}, "multiple of 4"),
        ((11, 8, 1, 3), {}, "multiple of 6"),
        ((11, 8, 0, 2), {}, "depth"),
        ((11, 8, 1, 2), {"kappa": 2.0}, "qk_layernorm=False"),
        ((11, 8, 1, 2), {"mup_base_dim": 0}, "mup_base_dim"),
        ((11, 8, 1, 2), {"kappa": -1.0, "qk_layernorm": False}, "kappa"),
    ],
)
def test_impossible_networks_are_refused(sizes, options, message):
    with pytest.raises(InvalidInputError, match=message):
        DecoderTransformer(*sizes, **options)
    with pytest.raises(InvalidInputError, match="integers of shape"):
        decoder()(tokens().double())
