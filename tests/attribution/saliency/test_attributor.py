"""NormGrad beside captum, hand-made gradients and the formula of the inner step."""

import pytest
import torch
from captum.attr import InputXGradient, LayerGradCam, LayerGradientXActivation, Saliency
from torch import nn

from assay.attribution.saliency import (
    SALIENCY_METHODS,
    NormGrad,
    gradient_spatial_variance,
    map_correlation,
)
from assay.core import InvalidInputError, cross_entropy, isolated_rng, seeded

X = torch.rand(5, 2, 9, 8, generator=seeded(0), dtype=torch.float64)
Y = torch.tensor([0, 3, 1, 1, 2])


def network(inplace=False):
    """A network that ends with global average pooling and a linear layer, with batch norm."""
    with isolated_rng(3):
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.ReLU(inplace),
            nn.Conv2d(6, 5, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 4),
        )
        nn.init.uniform_(model[1].running_mean)
    return model.double().eval()


def named(name, model, layer, **options):
    return NormGrad(model, layer, *SALIENCY_METHODS[name], **options)


@pytest.mark.parametrize("layer", ["0", "2", "6"])
def test_grad_cam_and_linear_approximation_are_captums(layer):
    model = network()
    at = model[int(layer)]
    grad_cam = LayerGradCam(model, at).attribute(X, Y, relu_attributions=True).detach()
    found = named("grad_cam", model, layer).attribute(X, Y)
    torch.testing.assert_close(found, grad_cam, rtol=1e-10, atol=1e-14)
    linear = LayerGradientXActivation(model, at).attribute(X, Y).sum(1, keepdim=True).detach()
    torch.testing.assert_close(
        named("linear_approximation", model, layer).attribute(X, Y), linear, rtol=1e-10, atol=1e-14
    )


def test_maps_of_the_input_are_captums():
    model = network()
    gradient = Saliency(model).attribute(X.clone().requires_grad_(), Y, abs=True).amax(1, keepdim=True)
    torch.testing.assert_close(named("gradient", model, None).attribute(X, Y), gradient, rtol=1e-10, atol=1e-16)
    product = InputXGradient(model).attribute(X.clone().requires_grad_(), Y).sum(1, keepdim=True).detach()
    found = named("linear_approximation", model, None).attribute(X, Y)
    torch.testing.assert_close(found, product, rtol=1e-10, atol=1e-16)


def test_at_the_last_convolution_grad_cam_is_the_linear_approximation_and_nowhere_else():
    model = network()
    grad_cam, linear = (named(name, model, "6").attribute(X, Y) for name in ("grad_cam", "linear_approximation"))
    torch.testing.assert_close(grad_cam, linear.clamp_min(0), rtol=1e-10, atol=1e-14)
    with torch.no_grad():  # class activation maps: the last weights on the last activations
        cam = torch.einsum("ck,nkhw->nchw", model[9].weight, model[:7](X))[torch.arange(5), Y][:, None]
    torch.testing.assert_close(linear, cam / cam[0].numel(), rtol=1e-10, atol=1e-14)
    constant = NormGrad(model, "6", "bias").attribute(X, Y)
    torch.testing.assert_close(constant, constant[:, :, :1, :1].expand_as(constant), rtol=1e-12, atol=0)
    assert gradient_spatial_variance(model, "6", X, Y).max() < 1e-12
    shares = gradient_spatial_variance(model, "2", X, Y)
    assert ((shares > 0.1) & (shares <= 1)).all()
    early = [named(name, model, "0").attribute(X, Y) for name in ("grad_cam", "linear_approximation")]
    linear = early[1].clamp_min(0)
    some = (early[0].flatten(1).amax(1) > 0) & (linear.flatten(1).amax(1) > 0)
    assert some.sum() >= 2
    assert map_correlation(early[0][some], linear[some]).mean() < 0.9


def test_spatial_variance_is_that_of_the_gradient():
    model = network()
    below = model[:3](X).detach().requires_grad_()
    (g,) = torch.autograd.grad(model[3:](below).gather(1, Y[:, None]).sum(), below)
    share = g.var((2, 3), correction=0).sum(1) / g.square().mean((2, 3)).sum(1)
    torch.testing.assert_close(gradient_spatial_variance(model, "2", X, Y, batch_size=2), share)


@pytest.mark.parametrize("inplace", [False, True])
def test_the_layers_own_weight_gradient(inplace):
    model = network(inplace).requires_grad_(False)
    attributor = named("normgrad_layer", model, "4")
    found = attributor.attribute(X, Y)
    plain = network()
    before = plain[:4](X).detach()
    between = plain[4](before).detach().requires_grad_()
    (g,) = torch.autograd.grad(plain[5:](between).gather(1, Y[:, None]).sum(), between)
    windows = nn.functional.unfold(before, 3, padding=1).norm(dim=1).reshape(5, 1, 4, 4)
    torch.testing.assert_close(found, g.norm(dim=1, keepdim=True) * windows, rtol=1e-10, atol=1e-14)


def test_batches_and_a_class_for_each_sample_do_not_mix():
    model = network()
    whole = NormGrad(model, "4").attribute(X, Y)
    alone = torch.cat([NormGrad(model, "4").attribute(x[None], int(y)) for x, y in zip(X, Y, strict=True)])
    torch.testing.assert_close(whole, alone)
    torch.testing.assert_close(whole, NormGrad(model, "4", batch_size=2).attribute(X, Y))
    best = model(X).argmax(1)
    torch.testing.assert_close(NormGrad(model, "4").attribute(X), NormGrad(model, "4").attribute(X, best))


def test_the_log_probability_is_that_of_the_softmax_also_near_one():
    model = network()
    between = model[:5](X).detach().requires_grad_()
    value = -cross_entropy(model[5:](between), Y) * len(Y)
    (g,) = torch.autograd.grad(value, between)
    found = NormGrad(model, "4", "bias", score="log_probability").attribute(X, Y)
    torch.testing.assert_close(found, g.norm(dim=1, keepdim=True), rtol=1e-9, atol=1e-14)
    with torch.no_grad():
        model[9].weight.mul_(1e4)
    assert (NormGrad(model, "4", "bias", score="log_probability").attribute(X) > 0).any()


def by_hand(model, layer, x, y, eps, second_order=True):
    """Return activation and gradient through a step of SGD on the layers behind, written out by functional calls."""
    lower, upper = model[: layer + 1], model[layer + 1 :]
    a = lower(x).detach().requires_grad_()
    weights = {name: value.detach().clone().requires_grad_() for name, value in upper.named_parameters()}
    loss = cross_entropy(torch.func.functional_call(upper, weights, (a,)), y)
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=second_order)
    moved = {name: value - eps * slope for (name, value), slope in zip(weights.items(), slopes, strict=True)}
    score = torch.func.functional_call(upper, moved, (a,))[0, int(y)]
    return a.detach(), torch.autograd.grad(score, a)[0]


@pytest.mark.parametrize("second_order", [True, False])
def test_the_meta_step_is_that_written_out(second_order):
    model = network()
    attributor = NormGrad(model, "4", meta_step=0.3, second_order=second_order)
    found = attributor.attribute(X, Y)
    for index in range(len(X)):
        a, g = by_hand(model, 4, X[index : index + 1], Y[index : index + 1], 0.3, second_order)
        expected = a.norm(dim=1, keepdim=True) * g.norm(dim=1, keepdim=True)
        torch.testing.assert_close(found[index : index + 1], expected, rtol=1e-9, atol=1e-14)


def test_a_small_meta_step_is_the_penalty_on_the_gradients_norm():
    """With the log-probability, s(theta - eps grad l) is s + eps |grad s|^2 to first order."""
    model, eps = network(), 1e-6
    options = {"score": "log_probability", "extract": "scaling", "aggregate": "sum"}
    plain = NormGrad(model, "4", **options).attribute(X[:1], Y[:1])
    moved = NormGrad(model, "4", meta_step=eps, **options).attribute(X[:1], Y[:1])
    a = model[:5](X[:1]).detach().requires_grad_()
    loss = cross_entropy(model[5:](a), Y[:1])
    slopes = torch.autograd.grad(loss, list(model[5:].parameters()), create_graph=True)
    (penalty,) = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), a)
    torch.testing.assert_close((moved - plain) / eps, (penalty * a).sum(1, keepdim=True), rtol=1e-3, atol=1e-8)


class Block(nn.Module):
    """A transformer that reads tokens: an embedding, one block of attention, and scores of the first token."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(7, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        h = self.table(x)
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.head(h.mean(1).tanh())


def test_tokens_have_one_value_a_position():
    with isolated_rng(0):
        model = Block().double().train()
    x = torch.randint(7, (4, 6), generator=seeded(0))
    for layer in ("table", "attention"):
        for step in (None, 0.1):
            found = NormGrad(model, layer, meta_step=step).attribute(x, 2)
            assert found.shape == (4, 1, 6)
            assert (found > 0).all()
    table = model.table(x).detach().requires_grad_()
    h = table + model.attention(table, table, table, need_weights=False)[0]
    (g,) = torch.autograd.grad(model.head(h.mean(1).tanh())[:, 2].sum(), table)
    expected = (g.norm(dim=2) * table.norm(dim=2)).detach()[:, None]
    torch.testing.assert_close(NormGrad(model, "table").attribute(x, 2), expected)
    assert model.training


def test_scores_of_each_position_are_named_by_a_tuple():
    with isolated_rng(0):
        model = nn.Sequential(nn.Embedding(7, 8), nn.Conv1d(5, 5, 1), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randint(7, (4, 5), generator=seeded(0))
    found = NormGrad(model, "0").attribute(x, (4, 1))
    assert found.shape == (4, 1, 5)
    with pytest.raises(InvalidInputError, match="tuple of one index"):
        NormGrad(model, "0").attribute(x, 1)
    with pytest.raises(InvalidInputError, match="indexes 1 axes"):
        NormGrad(model, "0").attribute(x, (1,))


def test_a_single_logit_is_turned_round_for_label_zero():
    with isolated_rng(0):
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(126, 1)).double()
    up, down = (named("linear_approximation", model, "0").attribute(X, label) for label in (1, 0))
    torch.testing.assert_close(up, -down)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: NormGrad(m, "11"), "no layer '11'"),
        (lambda m: NormGrad(m, None, "layer"), "the input has none"),
        (lambda m: NormGrad(m, "0", meta_step=0.0), "meta_step must be"),
        (lambda m: NormGrad(m, "9").attribute(X), "without channels and positions"),
        (lambda m: NormGrad(m, "0").attribute(X, 4), "target holds labels"),
        (lambda m: NormGrad(m, "0").attribute(X, Y[:2]), "2 classes for 5 samples"),
        (lambda m: NormGrad(m, "2", "layer").attribute(X), "got ReLU"),
        (lambda m: NormGrad(nn.Sequential(m, nn.Softmax(1)), "0.0").attribute(X), "probabilities"),
        (lambda m: NormGrad(m, "0", channel_axis=0).attribute(X), "channel_axis 0"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(network())
