import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.nets import mlp, small_conv
from assay.reconstruction.kkt import (
    compress_first_layer,
    noise_rank,
    with_surrogate_relu,
)
from assay.reconstruction.kkt.multipliers import MarginMultipliers
from assay.reconstruction.kkt.search import StationarityGap


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("hidden", [(7,), (7, 6), (6, 5, 4)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_compression_changes_the_loss_by_a_constant_only(hidden, outputs):
    model = mlp((10, *hidden, outputs), generator=generator()).double()
    narrow = compress_first_layer(model, 4)
    y = torch.arange(5) % max(outputs, 2)
    full = StationarityGap(with_surrogate_relu(model, 10.0))
    short = StationarityGap(with_surrogate_relu(narrow.model, 10.0))
    c = torch.randn(1, 5, 4, generator=generator(1), dtype=torch.float64, requires_grad=True)
    multipliers = torch.rand(1, 5, generator=generator(2), dtype=torch.float64)
    multipliers = [MarginMultipliers((multipliers,), 1.0, y)]
    long, compact = full(c @ narrow.basis, multipliers) * full.energy, short(c, multipliers) * short.energy
    assert (long - compact - narrow.lost).abs() <= 1e-10 * long
    torch.testing.assert_close(torch.autograd.grad(long, c), torch.autograd.grad(compact, c))
    x = torch.randn(3, 4, generator=generator(3), dtype=torch.float64)
    torch.testing.assert_close(narrow.model(x), model(x @ narrow.basis))
    torch.testing.assert_close(narrow.basis @ narrow.basis.T, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (500, 784), (40, 784)])
@pytest.mark.parametrize("signals", [0, 3, 12])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_rank_counts_planted_signals(shape, signals, kind):
    h, d = shape
    draw = torch.randn if kind == "normal" else torch.rand
    noise = draw(h, d, generator=generator(), dtype=torch.float64)
    noise = noise if kind == "normal" else noise - 0.5
    left = torch.linalg.qr(torch.randn(h, 12, generator=generator(1), dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(d, 12, generator=generator(2), dtype=torch.float64))[0]
    strength = torch.logspace(0.5, 3, 12, dtype=torch.float64) * torch.linalg.svdvals(noise)[0]
    strength[: 12 - signals] = 0
    for size in (1.0, 1e-6):  # what weight decay leaves of the initialisation
        found = noise_rank(noise * size + size * left * strength @ right.T)
        assert max(signals, 1) <= found <= signals + 1


def test_rank_does_not_cut_a_spectrum_without_noise():
    decaying = torch.diag(torch.logspace(0, -3, 30, dtype=torch.float64))
    assert noise_rank(decaying) >= 15


def test_rounding_is_not_taken_for_signal():
    left, right = torch.randn(500, 30, generator=generator()), torch.randn(30, 784, generator=generator(1))
    uneven = torch.logspace(0, -4, 784)  # pixels of a border are next to nothing, and so is their rounding
    assert noise_rank((left.double() @ right.double() * uneven).float()) == 30


def test_nested_and_flattened_networks_are_compressed():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(16, 5), nn.ReLU()), nn.Linear(5, 1))
    assert compress_first_layer(model, 3).model(torch.zeros(2, 3)).shape == (2, 1)
    assert model[1][0].in_features == 16


def test_bad_input():
    with pytest.raises(InvalidInputError, match="subspace=None"):
        compress_first_layer(small_conv((1, 8, 8), 2), 3)
    with pytest.raises(InvalidInputError, match="between 1 and 4"):
        compress_first_layer(nn.Linear(6, 4), 5)
