"""Contributions beside autograd's weight gradients, and closed forms beside explicit matrices, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from assay.attribution.saliency import VirtualIdentity, aggregate, contribution_map, extract
from assay.core import InvalidInputError, seeded

VIRTUAL = ("bias", "scaling", "conv1x1", "conv3x3", "depthwise3x3")
HOWS = ("norm", "filter_norm", "sum", "relu_sum", "max", "max_abs")


def lower(seed=0):
    source = seeded(seed)
    return torch.randn(4, 3, 5, 6, generator=source, dtype=torch.float64)


def head(x):
    """Return a smooth score of an activation, with interaction between positions."""
    return (x[..., :-1] * x[..., 1:]).sin().sum() + x.square().mean()


def gradient_at(x, score=head):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(score(x), x)[0]


@pytest.mark.parametrize("kind", VIRTUAL)
@pytest.mark.parametrize("axes", [1, 2])
def test_contributions_sum_to_the_weight_gradient_of_an_inserted_identity(kind, axes):
    x = lower() if axes == 2 else lower()[:, :, 0]
    layer = VirtualIdentity(kind, 3, axes).double()
    out = layer(x)
    torch.testing.assert_close(out, x, rtol=0, atol=1e-15)
    (weight,) = torch.autograd.grad(head(out), layer.weight)
    phi = extract(x, gradient_at(x), kind)
    assert phi.shape[2:] == x.shape[2:]
    torch.testing.assert_close(phi.flatten(2).sum((0, 2)), weight.flatten(), rtol=1e-10, atol=1e-12)


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3, stride=2, padding=1),
    nn.Conv2d(4, 6, 3, dilation=2),
    nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(0, 1), groups=2, bias=False),
    nn.Conv2d(4, 4, 4, padding="same", groups=4),
    nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"),
    nn.Conv2d(4, 2, 2, padding="valid"),
    nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2),
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("how", HOWS)
def test_a_real_convolution(conv, how):
    conv = conv.double()
    shape = (2, 4, 7, 8) if isinstance(conv, nn.Conv2d) else (2, 4, 9)
    x = torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    out = conv(x)
    (weight,) = torch.autograd.grad(head(out), conv.weight)
    g = gradient_at(out.detach())
    phi = extract(x, g, "layer", conv)
    torch.testing.assert_close(phi.flatten(2).sum((0, 2)), weight.flatten(), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(contribution_map(x, g, "layer", how, conv), aggregate(phi, how), rtol=1e-10, atol=1e-12)


def test_a_dense_layer_on_tokens():
    dense = nn.Linear(3, 5).double()
    tokens = lower()[:, :, 0].transpose(1, 2)
    out = dense(tokens)
    (weight,) = torch.autograd.grad(head(out), dense.weight)
    g = gradient_at(out.detach()).transpose(1, 2)
    phi = extract(tokens.transpose(1, 2), g, "layer", dense)
    torch.testing.assert_close(phi.sum((0, 2)), weight.flatten(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [*VIRTUAL, "mean_scaling"])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("axes", [1, 2])
def test_closed_forms_are_those_of_the_explicit_contributions(kind, how, axes):
    x, g = (lower(seed) if axes == 2 else lower(seed)[:, :, 1] for seed in (1, 2))
    found = contribution_map(x, g, kind, how)
    assert found.shape == (4, 1, *x.shape[2:])
    torch.testing.assert_close(found, aggregate(extract(x, g, kind), how), rtol=1e-10, atol=1e-12)


def test_aggregates_are_those_of_the_formula():
    phi = torch.tensor([3.0, -4.0, 1.0]).reshape(1, 3, 1, 1)
    expected = {"norm": 26**0.5, "filter_norm": 10**0.5, "sum": 0.0, "relu_sum": 0.0, "max": 3.0, "max_abs": 4.0}
    assert {how: aggregate(phi, how).item() for how in expected} == pytest.approx(expected)


def test_norm_of_a_convolution_is_the_product_of_the_norms():
    x, g = lower(3), lower(4)
    expected = g.norm(dim=1, keepdim=True) * F.unfold(x, 3, padding=1).norm(dim=1).reshape(4, 1, 5, 6)
    torch.testing.assert_close(contribution_map(x, g, "conv3x3"), expected, rtol=1e-12, atol=0)


def test_volumes_have_pointwise_kinds_only():
    x = torch.randn(2, 3, 2, 3, 4, generator=seeded(0), dtype=torch.float64)
    torch.testing.assert_close(contribution_map(x, x), x.square().sum(1, keepdim=True))
    with pytest.raises(InvalidInputError, match="one or two axes"):
        contribution_map(x, x, "conv3x3")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: extract(torch.ones(2, 3), torch.ones(2, 3)), "without positions"),
        (lambda: extract(torch.ones(2, 3, 4), torch.ones(2, 3, 5)), "differ"),
        (lambda: extract(torch.ones(2, 3, 4), torch.ones(2, 3, 4), "layer"), "got none"),
        (lambda: extract(torch.ones(2, 3, 4), torch.ones(2, 3, 4), "layer", nn.ReLU()), "got ReLU"),
        (lambda: extract(torch.ones(2, 3, 4), torch.ones(2, 3, 4), "bias", nn.Conv1d(3, 3, 1)), "'layer' only"),
        (lambda: extract(torch.ones(2, 3, 4), torch.ones(2, 3, 4), "layer", nn.Conv1d(3, 3, 3)), "2 positions"),
        (lambda: aggregate(torch.ones(2, 3)), "positions"),
        (lambda: VirtualIdentity("conv1x1", 2)(torch.ones(1, 3, 4, 4)), "2 channels"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
