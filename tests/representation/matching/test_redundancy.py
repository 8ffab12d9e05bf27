import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, layer_outputs, seeded
from assay.nets import mlp, small_conv
from assay.representation.matching import hidden_layers, unit_redundancy


def planted():
    """Return a network with two copies, one negative copy, a dead unit, and three units of their own."""
    network = mlp((5, 7, 2), generator=seeded(0)).double()
    network = nn.Sequential(network[0], nn.Tanh(), network[2])
    weight, bias = network[0].weight.data, network[0].bias.data
    bias.zero_()
    weight[3], weight[4], weight[6] = weight[0], -weight[1], weight[0]
    weight[5], bias[5] = 0.0, 0.3
    return network


def test_planted_copies_and_dead_units_are_counted():
    x = torch.randn(400, 5, generator=seeded(1), dtype=torch.float64)
    network = planted()
    (found,) = unit_redundancy(network, x).layers
    assert (found.n_units, found.n_dead, found.n_repeated, found.n_rows) == (7, 1, 3, 400)
    assert found.share_superfluous == pytest.approx(4 / 7)
    live = network[:2](x).detach().numpy()[:, [0, 1, 2, 3, 4, 6]]
    correlation = np.corrcoef(live, rowvar=False)
    shares = np.linalg.eigvalsh(correlation) / 6
    assert found.effective_rank == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares if p > 1e-12)))
    assert torch.allclose(found.largest, torch.from_numpy(np.abs(correlation - np.eye(6)).max(1)))


def test_uncorrelated_units_have_full_rank():
    x = torch.cartesian_prod(*3 * [torch.tensor([-1.0, 1.0])]).double()
    network = nn.Sequential(nn.Identity(), nn.Linear(3, 1)).double()
    (found,) = unit_redundancy(network, x, ["0"]).layers
    assert found.effective_rank == pytest.approx(3)
    assert found.largest.max() == pytest.approx(0)


def test_positions_are_drawn_for_convolutions():
    network = small_conv((1, 8, 8), 3, channels=(4,), hidden=5, generator=seeded(0)).double()
    x = torch.randn(20, 1, 8, 8, generator=seeded(1), dtype=torch.float64)
    assert hidden_layers(network, x) == ["1", "4"]
    report = unit_redundancy(network, x, n_rows=60, generator=seeded(2))
    assert [each.n_rows for each in report.layers] == [60, 20]
    assert [each.n_units for each in report.layers] == [4, 5]
    full = unit_redundancy(network, x, ["1"]).layers[0]
    assert full.n_rows == 320
    rows = layer_outputs(network, x, ["1"])["1"].movedim(1, -1).flatten(0, 2)
    assert torch.allclose(full.largest, (torch.corrcoef(rows.T) - torch.eye(4)).abs().max(1).values)
    axes = report.plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4"]
    plt.close(axes.figure)
    assert "effective rank" in str(report)


def test_more_units_than_rows_have_the_rank_of_the_rows():
    x = torch.randn(10, 30, generator=seeded(0), dtype=torch.float64)
    (found,) = unit_redundancy(nn.Sequential(nn.Identity(), nn.Linear(30, 1)).double(), x, ["0"]).layers
    shares = torch.linalg.eigvalsh(torch.corrcoef(x.T)).clamp(min=1e-300) / 30
    assert found.effective_rank == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())))
    assert found.effective_rank < 9


class WithoutModules(nn.Module):
    """A linear network that names no layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))

    def forward(self, x):
        return x @ self.weight


def test_a_network_without_activation_modules_is_read_at_all_but_its_last_layer():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 1))
    x = torch.randn(9, 2)
    assert hidden_layers(network, x) == ["0", "1"]
    assert hidden_layers(network[:1], x) == ["0"]
    with pytest.raises(InvalidInputError, match="modules that run once"):
        unit_redundancy(WithoutModules(), x)
    with pytest.raises(InvalidInputError, match="more than 4096"):
        unit_redundancy(nn.Sequential(nn.Linear(2, 5000), nn.ReLU(), nn.Linear(5000, 1)), x)
    with pytest.raises(InvalidInputError, match="duplicate"):
        unit_redundancy(network, x, duplicate=1.5)
