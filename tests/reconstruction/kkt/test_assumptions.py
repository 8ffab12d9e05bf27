import copy
import itertools

import pytest
import torch
from torch import nn

from assay.core import named_parameters, seeded, squared_error
from assay.nets import mlp, small_conv
from assay.reconstruction import train_to_stationarity
from assay.reconstruction.kkt.assumptions import doubts, imbalance, plain_copy, used_parameters


def stationary(widths):
    """Train with weight decay on targets of either sign until the weights are a sum of gradients."""
    model, source = mlp(widths, generator=seeded(0)).double(), seeded(1)
    x, y = torch.randn(6, widths[0], generator=source).double(), torch.randn(6, widths[-1], generator=source).double()
    train_to_stationarity(model, x, y, loss=squared_error, weight_decay=0.01, tolerance=1e-3)
    return model


@pytest.mark.parametrize("widths", [(5, 7, 1), (5, 7, 6, 2)])
def test_sums_of_gradients_are_in_balance_and_others_are_not(widths):
    assert imbalance(stationary(widths)) < 1e-2
    assert imbalance(mlp(widths, generator=seeded(0))) > 0.1


@pytest.mark.parametrize("widths", [(5, 7, 1), (5, 7, 6, 2)])
def test_a_sum_of_gradients_has_equal_products_with_both_sides_of_a_unit(widths):
    """The identity behind the measure, for any weights, samples and cotangents."""
    model, source = mlp(widths, generator=seeded(0)).double(), seeded(1)
    x, mu = torch.randn(6, widths[0], generator=source).double(), torch.randn(6, widths[-1], generator=source).double()
    (mu * model(x)).sum().backward()
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    for layer, following in itertools.pairwise(layers):
        incoming = (layer.weight * layer.weight.grad).sum(1) + layer.bias * layer.bias.grad
        torch.testing.assert_close(incoming, (following.weight * following.weight.grad).sum(0))


def test_imbalance_is_the_sum_over_units():
    model = mlp((3, 4, 2, 1), generator=seeded(2)).double()
    first, second, third = (layer for layer in model if isinstance(layer, nn.Linear))
    pairs = [
        (
            sum(w**2 for w in [*layer.weight[unit].tolist(), layer.bias[unit].item()]),
            sum(w**2 for w in following.weight[:, unit].tolist()),
        )
        for layer, following in ((first, second), (second, third))
        for unit in range(layer.out_features)
    ]
    expected = sum(abs(one - other) for one, other in pairs) / sum(one + other for one, other in pairs)
    assert imbalance(model) == pytest.approx(expected, rel=1e-12)


PARAMETRISED = [
    nn.utils.parametrizations.weight_norm,
    nn.utils.parametrizations.spectral_norm,
    pytest.param(nn.utils.weight_norm, marks=pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")),
    nn.utils.spectral_norm,
]


@pytest.mark.parametrize("wrap", PARAMETRISED, ids=["weight", "spectral", "old weight", "old spectral"])
def test_computed_weights_are_written_down(wrap):
    model = mlp((4, 5, 2), generator=seeded(0))
    wrap(model[0])
    model.eval()
    x = torch.randn(3, 4, generator=seeded(1))
    expected = model(x)  # leaves a weight with a graph, which copy.deepcopy refuses
    twin, trained = plain_copy(model)
    torch.testing.assert_close(twin(x), expected)
    assert list(named_parameters(twin)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert trained == set(named_parameters(twin))
    assert "0 were computed" in doubts(model)[0]
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    assert plain_copy(model)[1] == {"2.weight", "2.bias"}


def test_frozen_parameters_are_not_trained_unless_all_are():
    model = mlp((4, 5, 2))
    model[0].requires_grad_(False)
    assert plain_copy(nn.DataParallel(model))[1] == {"2.weight", "2.bias"}
    assert plain_copy(model.requires_grad_(False))[1] == set(named_parameters(model))


def test_parameters_without_a_part_in_the_outputs_are_told():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    assert used_parameters(Net().requires_grad_(False), torch.ones(2, 3)) == [True, True, False, False]


def test_what_the_search_cannot_follow_is_named():
    assert doubts(mlp((4, 5, 2))) == doubts(small_conv((1, 8, 8), 2)) == []
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    batch_norm, pool = doubts(copy.deepcopy(model))
    assert "batch-norm (1)" in batch_norm
    assert "max-pooling (3)" in pool
