import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from assay.core import InvalidInputError, seeded
from assay.nets import mlp
from assay.reconstruction import KKTReconstructor, normalized_correlation
from assay.reconstruction.kkt import SurrogateKinks, set_sharpness, with_surrogate_relu

LAYERS = {
    "leaky": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(init=0.3),
    "prelu by unit": nn.PReLU(4),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(-1.0, 2.0),
}
SLOPES = {  # below all kinks, and at each its place and the change of slope
    "leaky": (0.2, [(0, 0.8)]),
    "prelu": (0.3, [(0, 0.7)]),
    "prelu by unit": (0.25, [(0, 0.75)]),
    "relu6": (0.0, [(0, 1), (6, -1)]),
    "hardtanh": (0.0, [(-1, 1), (2, -1)]),
}


def draws(*shape, seed=0):
    return 4 * torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def layer(name):
    return copy.deepcopy(LAYERS[name]).double()


@pytest.mark.parametrize("name", LAYERS)
def test_forward_is_the_activation_bitwise(name):
    z = draws(200, 4)
    assert torch.equal(SurrogateKinks(layer(name), 100.0)(z), layer(name)(z))


@pytest.mark.parametrize("alpha", [1.0, 30.0, 500.0])
@pytest.mark.parametrize("name", LAYERS)
def test_the_jumps_of_the_derivative_are_sigmoids(name, alpha):
    z = draws(200, 4).requires_grad_()
    (found,) = torch.autograd.grad(SurrogateKinks(layer(name), alpha)(z).sum(), z)
    slope, kinks = SLOPES[name]
    expected = slope + sum(change * torch.sigmoid(alpha * (z - place)) for place, change in kinks)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_the_derivative_differentiates_again(name):
    z, cotangent = draws(5, 4).requires_grad_(), draws(5, 4, seed=1).requires_grad_()
    gate = SurrogateKinks(layer(name), 5.0)

    def gated(z, cotangent):
        return torch.autograd.grad(gate(z), z, cotangent, create_graph=True)[0]

    assert gradcheck(gated, (z, cotangent))
    assert gradgradcheck(gated, (z, cotangent))


@pytest.mark.parametrize("name", LAYERS)
def test_sharp_gates_give_the_gradients_of_the_network(name):
    model = mlp((3, 4, 1), generator=seeded(0)).double()
    model[1] = layer(name)
    twin, x = with_surrogate_relu(model, 1e7), draws(50, 3)
    ours, theirs = (torch.autograd.grad(net(x).sum(), list(net.parameters())) for net in (twin, model))
    for one, other in zip(ours, theirs, strict=True):  # that of PReLU's slope among them
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


class Calls(nn.Module):
    """Calls every activation with a surrogate, some in place, beside a module."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.gate, self.slope = nn.LeakyReLU(0.1), nn.Parameter(torch.tensor([0.3]))

    def forward(self, x):
        functions = nn.functional
        hidden = functions.leaky_relu(self.gate(self.first(x)), 0.2, inplace=True)
        hidden = torch.prelu(functions.relu6(self.second(hidden)), self.slope)
        hidden = functions.leaky_relu_(functions.hardtanh(hidden, -2, max_val=1.5))
        return self.third(torch.relu(functions.hardtanh(hidden)))


def test_calls_are_swapped_as_modules_are():
    model, x = Calls().double(), draws(30, 3)
    twin = with_surrogate_relu(model, 1e7)
    assert torch.equal(twin(x), model(x))
    parameters = dict(model.named_parameters())
    parts = torch.autograd.grad(twin(x).sum(), list(twin.parameters()))
    expected = torch.autograd.grad(model(x).sum(), list(parameters.values()))
    for name, one, other in zip(parameters, parts, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, msg=name)
    set_sharpness(twin, 2.0)
    soft = torch.autograd.grad(twin(x).sum(), list(twin.parameters()))
    assert not torch.allclose(soft[0], parts[0])
    torch.testing.assert_close(
        torch.func.vmap(twin)(draws(2, 6, 3)), torch.stack([twin(draws(2, 6, 3)[k]) for k in (0, 1)])
    )


def planted(activation, n=5):
    """Weights that moved by exactly the weighted gradients of some samples at the new weights."""
    start = mlp((20, 100, 1), generator=seeded(0)).double()
    start[1] = activation.double()
    x = torch.randn(n, 20, generator=seeded(1), dtype=torch.float64)
    mu = 0.03 * torch.tensor([1, -1, 1, 1, -1], dtype=torch.float64)
    end, origin = copy.deepcopy(start), nn.utils.parameters_to_vector(start.parameters()).detach()
    for _ in range(60):
        pull = torch.autograd.grad(mu @ end(x).squeeze(1), list(end.parameters()))
        with torch.no_grad():
            nn.utils.vector_to_parameters(origin + torch.cat([part.flatten() for part in pull]), end.parameters())
    return start, end, x


@pytest.mark.parametrize("activation", [nn.PReLU(100), nn.GELU()])
def test_samples_come_back_from_a_planted_displacement(activation):
    start, end, x = planted(copy.deepcopy(activation))
    options = {"init_state": start.state_dict(), "kernels": "final", "n_restarts": 2, "n_iter": 400}
    found = KKTReconstructor(**options, dtype=torch.float64).fit(end)
    assert found.verdict_.outcome == "found"
    assert found.residual_.max() < 0.05
    assert (normalized_correlation(x, found.reconstructions_).amax(1) > 0.95).all()


def test_other_activations_are_refused():
    with pytest.raises(InvalidInputError, match="got GELU"):
        SurrogateKinks(nn.GELU())
    with pytest.raises(InvalidInputError, match="alpha"):
        SurrogateKinks(nn.ReLU6(), 0.0)
