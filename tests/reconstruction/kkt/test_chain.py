import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from assay.core import named_parameters
from assay.nets import mlp
from assay.reconstruction.kkt.chain import Chain, is_chain
from assay.reconstruction.kkt.multipliers import start_multipliers
from assay.reconstruction.kkt.search import StationarityGap
from assay.reconstruction.kkt.surrogate import SurrogateReLU, with_surrogate_relu


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def gated(widths, bias="all", seed=0):
    """Build a network whose gates are of different sharpness from unit to unit."""
    model = with_surrogate_relu(mlp(widths, bias=bias, generator=generator(seed)).double(), 4.0)
    for layer in model.modules():
        if isinstance(layer, SurrogateReLU):
            layer.scale = torch.linspace(0.5, 2.0, 8, dtype=torch.float64)
    return model


@pytest.mark.parametrize("bias", ["none", "first", "all"])
@pytest.mark.parametrize("widths", [(3, 8, 1), (3, 8, 2), (3, 8, 8, 2)])
def test_the_closed_form_is_what_autograd_differentiates_twice(widths, bias):
    model = gated(widths, bias)
    weights, x, cotangents = named_parameters(model), normal(2, 4, 3), normal(2, 4, widths[-1], seed=1)
    copies = {name: value.detach().expand(2, *value.shape).requires_grad_() for name, value in weights.items()}
    x, cotangents = x.requires_grad_(), cotangents.requires_grad_()
    outputs = vmap(lambda params, one: functional_call(model, params, (one,)))(copies, x)
    sums = torch.autograd.grad(outputs, list(copies.values()), cotangents, create_graph=True)
    direction = [normal(*part.shape, seed=k) for k, part in enumerate(sums)]
    slopes = torch.autograd.grad(sums, (x, cotangents), direction)

    chain = Chain(model, weights)
    with torch.no_grad():
        torch.testing.assert_close(chain.outputs(x), outputs)
        torch.testing.assert_close(chain.gradients(cotangents), list(sums))
        torch.testing.assert_close(chain.derivative(direction), slopes)


@pytest.mark.parametrize(
    ("objective", "outputs"), [("binary", 1), ("multiclass", 4), ("vector", 3), ("regression", 2), ("displacement", 1)]
)
def test_the_gaps_gradients_are_those_of_its_value(objective, outputs):
    model, x = gated((5, 8, 8, outputs)), normal(2, 7, 5).requires_grad_()
    both = objective == "displacement"
    other = named_parameters(gated((5, 8, 8, outputs), seed=1))
    options = {"points": [named_parameters(model), other], "goal": other} if both else {}
    multipliers = [start_multipliers(objective, x, outputs, 1.0, [generator(k), generator(9)]) for k in range(1 + both)]
    multipliers = [one.at([value.requires_grad_() for value in one.raw]) for one in multipliers]
    gap = StationarityGap(model, **options)
    assert gap.is_chain
    gaps, gradients = gap.gradients(x, multipliers)
    expected = gap(x, multipliers)
    torch.testing.assert_close(gaps, expected)
    leaves = [x, *(value for one in multipliers for value in one.raw)]
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected.sum(), leaves)))


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 1),
        nn.Sequential(),
        nn.Sequential(nn.Flatten(), nn.Linear(2, 1)),
        nn.Sequential(SurrogateReLU(), nn.Linear(2, 1)),
        nn.Sequential(nn.Linear(2, 1), SurrogateReLU()),
        nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)),
    ],
)
def test_other_networks_are_no_chains(model):
    assert not is_chain(model)
