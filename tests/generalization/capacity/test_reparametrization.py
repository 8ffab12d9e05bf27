from functools import partial

import pytest
import torch
from torch import nn

from assay.core import (
    InvalidInputError,
    StackedTrainer,
    cross_entropy,
    flatten,
    named_parameters,
    parameter_gradients,
    seeded,
)
from assay.generalization.capacity import SubspaceNetwork, quantized_network
from assay.nets import mlp


def network():
    return mlp((3, 4, 2), generator=seeded(0)).double()


def data():
    source = seeded(1)
    return torch.randn(9, 3, generator=source, dtype=torch.float64), torch.randint(2, (9,), generator=source)


def test_a_subspace_starts_at_the_network_with_unit_columns():
    x, _ = data()
    small = SubspaceNetwork(network(), 5, seeded(2))
    assert torch.allclose(small(x), network()(x))
    assert torch.allclose(small.basis.norm(dim=0), torch.ones(5, dtype=torch.float64))
    with torch.no_grad():
        small.coordinates[3] = 2.0
    moved = flatten(named_parameters(network())) + 2 * small.basis[:, 3]
    assert torch.allclose(small.weights(), moved)


def test_the_gradient_of_the_coordinates_is_the_projected_gradient():
    x, y = data()
    small = SubspaceNetwork(network(), 5, seeded(2))
    cross_entropy(small(x), y).backward()
    whole = parameter_gradients(network(), x, y, cross_entropy, per_sample=False)
    assert torch.allclose(small.coordinates.grad, small.basis.T @ whole)


def test_frozen_parameters_are_no_part_of_the_subspace():
    model = network()
    model[0].weight.requires_grad_(False)
    assert SubspaceNetwork(model, 2).basis.shape == (4 + 8 + 2, 2)


def test_a_subspace_larger_than_the_network_is_refused():
    with pytest.raises(InvalidInputError, match="27 dimensions does not fit into 26"):
        SubspaceNetwork(network(), 27)


@pytest.mark.parametrize("bits", [1, 3])
def test_quantised_weights_are_the_nearest_levels(bits):
    model = network()
    small = quantized_network(model, bits)
    for layer, quantised in ((model[0], small[0]), (model[2], small[2])):
        for name in ("weight", "bias"):
            weight = getattr(layer, name)
            levels = torch.linspace(-1, 1, 2**bits, dtype=torch.float64) * weight.abs().max()
            nearest = levels[(weight[..., None] - levels).abs().argmin(-1)]
            assert torch.allclose(getattr(quantised, name), nearest)


def test_gradients_pass_the_rounding_unchanged():
    x, y = data()
    small = quantized_network(network(), 2)
    plain = network()
    for place in (0, 2):
        for name in ("weight", "bias"):
            getattr(plain[place], name).data.copy_(getattr(small[place], name).detach())
    cross_entropy(small(x), y).backward()
    cross_entropy(plain(x), y).backward()
    assert torch.allclose(small[0].parametrizations.weight.original.grad, plain[0].weight.grad)


@pytest.mark.parametrize("wrap", [partial(SubspaceNetwork, dimension=6), partial(quantized_network, bits=3)])
def test_they_can_be_trained_as_a_stack(wrap):
    x, y = data()
    models = [wrap(mlp((3, 4, 2), generator=seeded(place))) for place in range(2)]
    before = [cross_entropy(model(x.float()), y).item() for model in models]
    adam = partial(torch.optim.Adam, lr=0.05)
    StackedTrainer(cross_entropy, adam, 60)(models, x.float(), y, torch.ones(2, 9) > 0)
    assert all(cross_entropy(model(x.float()), y) < 0.8 * old for model, old in zip(models, before, strict=True))


@pytest.mark.parametrize("bits", [0, 17])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(InvalidInputError, match="bits"):
        quantized_network(nn.Linear(2, 2), bits)
