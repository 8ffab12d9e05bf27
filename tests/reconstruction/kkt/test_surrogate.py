import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from assay.core import InvalidInputError
from assay.nets import mlp
from assay.reconstruction.kkt import SurrogateReLU, set_sharpness, with_surrogate_relu


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_forward_is_relu_bitwise():
    z = draws(1000)
    assert torch.equal(SurrogateReLU(100.0)(z), z.relu())


@pytest.mark.parametrize("alpha", [1.0, 30.0, 500.0])
def test_backward_is_the_sigmoid_gate(alpha):
    z = draws(1000).requires_grad_()
    (gate,) = torch.autograd.grad(SurrogateReLU(alpha)(z).sum(), z)
    torch.testing.assert_close(gate, torch.sigmoid(alpha * z))


def test_the_gate_differentiates_again_as_a_sigmoid_does():
    z, cotangent = draws(20).requires_grad_(), draws(20, seed=1).requires_grad_()
    relu = SurrogateReLU(5.0)

    def gated(z, cotangent):
        return torch.autograd.grad(relu(z), z, cotangent, create_graph=True)[0]

    assert gradcheck(gated, (z, cotangent))
    assert gradgradcheck(gated, (z, cotangent))


def test_units_can_have_their_own_sharpness():
    z = draws(6, 3).requires_grad_()
    scale = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    (gate,) = torch.autograd.grad(SurrogateReLU(7.0, scale=scale)(z).sum(), z)
    torch.testing.assert_close(gate, torch.sigmoid(7 * scale * z))


class Functional(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.first, self.second, self.call = nn.Linear(4, 5), nn.Linear(5, 1), call

    def forward(self, x):
        return self.second(self.call(self.first(x)))


@pytest.mark.parametrize("call", [torch.relu, nn.functional.relu, lambda z: z.relu(), torch.nn.ReLU()])
def test_every_way_to_call_relu_is_swapped(call):
    model = Functional(call)
    x = draws(6, 4).float()
    twin = with_surrogate_relu(model, 3.0)
    assert torch.equal(twin(x), model(x))
    (first,) = [weight for name, weight in twin.named_parameters() if name.endswith("first.weight")]
    (got,) = torch.autograd.grad(twin(x).sum(), first)
    gate = torch.sigmoid(3 * model.first(x))
    torch.testing.assert_close(got, (gate * model.second.weight).T @ x)


def test_a_module_and_a_call_of_relu_are_both_swapped():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate, self.second, self.third = (
                nn.Linear(4, 5),
                nn.ReLU(),
                nn.Linear(5, 3),
                nn.Linear(3, 1),
            )

        def forward(self, x):
            return self.third(torch.relu(self.second(self.gate(self.first(x)))))

    model, x = Mixed(), draws(6, 4).float()
    twin = with_surrogate_relu(model, 3.0)
    assert torch.equal(twin(x), model(x))
    (first,) = [weight for name, weight in twin.named_parameters() if name.endswith("first.weight")]
    (got,) = torch.autograd.grad(twin(x).sum(), first)
    inner, outer = model.first(x), model.second(model.first(x).relu())
    back = (torch.sigmoid(3 * outer) * model.third.weight) @ model.second.weight
    torch.testing.assert_close(got, (torch.sigmoid(3 * inner) * back).T @ x)


class Threshold(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.third(nn.functional.threshold(self.second(self.first(x).relu()), 0.1, 0.0))


@pytest.mark.parametrize("kink", [nn.RReLU(), nn.SELU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softshrink()])
@pytest.mark.parametrize("beside", [nn.ReLU(), nn.LeakyReLU(), nn.GELU()])
def test_a_kink_without_surrogate_is_refused(kink, beside):
    layers = (nn.Linear(2, 3), kink, nn.Linear(3, 3), beside, nn.Linear(3, 1))
    with pytest.raises(InvalidInputError, match=rf"{type(kink).__name__} \(1\), a kink without a surrogate"):
        with_surrogate_relu(nn.Sequential(*layers))


def test_a_kink_in_the_forward_is_refused_at_the_first_call():
    twin = with_surrogate_relu(Threshold())
    with pytest.raises(InvalidInputError, match="threshold, a kink without a surrogate"):
        twin(torch.ones(1, 4))


def test_smooth_activations_keep_their_derivatives():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))
    twin, x = with_surrogate_relu(model, 3.0), draws(6, 4).float()
    (got,) = torch.autograd.grad(twin(x).sum(), twin[0].weight)
    hidden = model[0](x).tanh()
    back = (torch.sigmoid(3 * model[2](hidden)) * model[4].weight) @ model[2].weight
    torch.testing.assert_close(got, (back * (1 - hidden**2)).T @ x)


def test_sharpness_changes_without_rebuilding_and_the_original_stays():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
    twin = with_surrogate_relu(model, 10.0)
    set_sharpness(twin, 20.0)
    assert twin[0][1].alpha == 20.0
    assert isinstance(model[0][1], nn.ReLU)


def test_a_smooth_network_is_the_same_network():
    model, x = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1)), draws(5, 2).float()
    twin = with_surrogate_relu(model)
    assert torch.equal(twin(x), model(x))
    (got,) = torch.autograd.grad(twin(x).sum(), twin.model[0].weight)
    (expected,) = torch.autograd.grad(model(x).sum(), model[0].weight)
    assert torch.equal(got, expected)


def test_a_network_without_activations_is_refused():
    twin = with_surrogate_relu(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)))
    with pytest.raises(InvalidInputError, match="no activation"):
        twin(torch.ones(1, 2))
    with pytest.raises(InvalidInputError, match="alpha"):
        SurrogateReLU(0.0)


def test_surrogate_works_under_vmap():
    model = with_surrogate_relu(mlp((3, 4, 1)), 5.0)
    x = draws(2, 6, 3).float()
    torch.testing.assert_close(torch.func.vmap(model)(x), torch.stack([model(x[0]), model(x[1])]))
