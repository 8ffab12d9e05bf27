import pytest
import torch
from torch import nn

from assay.core import InvalidInputError
from assay.nets import mlp
from assay.reconstruction.kkt import merge_parallel_units, set_sharpness, with_surrogate_relu
from assay.reconstruction.kkt.multipliers import MarginMultipliers
from assay.reconstruction.kkt.search import StationarityGap


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def split_units(layer, following, copies, seed):
    """Replace every unit by several parallel ones that compute the same with the same energy."""
    share = torch.rand(layer.out_features, copies, generator=generator(seed), dtype=torch.float64) + 0.2
    share = (share / share.norm(dim=1, keepdim=True)).flatten()
    wide = nn.Linear(layer.in_features, len(share)).double()
    after = nn.Linear(len(share), following.out_features).double()
    with torch.no_grad():
        wide.weight.copy_(layer.weight.repeat_interleave(copies, 0) * share[:, None])
        wide.bias.copy_(layer.bias.repeat_interleave(copies) * share)
        after.weight.copy_(following.weight.repeat_interleave(copies, 1) * share)
        after.bias.copy_(following.bias)
    return wide, after


@pytest.mark.parametrize("outputs", [1, 3])
def test_split_units_are_found_and_nothing_changes(outputs):
    small = mlp((6, 5, 4, outputs), generator=generator()).double()
    first, second = split_units(small[0], small[2], 3, 1)
    second, third = split_units(second, small[4], 4, 2)
    wide = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
    result = merge_parallel_units(wide, negligible=1e-12)
    assert result.widths == (5, 4)
    assert result.lost == pytest.approx(0, abs=1e-12)
    x = torch.randn(9, 6, generator=generator(3), dtype=torch.float64)
    torch.testing.assert_close(result.model(x), wide(x))

    y = torch.arange(9) % max(outputs, 2)
    multipliers = [MarginMultipliers((torch.rand(1, 9, generator=generator(4), dtype=torch.float64),), 1.0, y)]
    merged, full = StationarityGap(result.model), StationarityGap(with_surrogate_relu(wide))
    set_sharpness(merged.model, 1e9)
    set_sharpness(full.model, 1e9)
    assert merged.energy == pytest.approx(full.energy, rel=1e-12)
    torch.testing.assert_close(merged(x[None], multipliers), full(x[None], multipliers))


def test_equal_copies_keep_their_gates():
    # With equal shares the merged unit's sharpness makes even the soft gates those of its members.
    small = mlp((6, 5, 1), generator=generator()).double()
    wide = nn.Sequential(nn.Linear(6, 20).double(), nn.ReLU(), nn.Linear(20, 1, bias=False).double())
    with torch.no_grad():
        wide[0].weight.copy_(small[0].weight.repeat_interleave(4, 0) / 2)
        wide[0].bias.copy_(small[0].bias.repeat_interleave(4) / 2)
        wide[2].weight.copy_(small[2].weight.repeat_interleave(4, 1) / 2)
    y = torch.arange(8) % 2
    x = torch.randn(1, 8, 6, generator=generator(3), dtype=torch.float64)
    multipliers = [MarginMultipliers((torch.rand(1, 8, generator=generator(4), dtype=torch.float64),), 1.0, y)]
    merged, full = StationarityGap(merge_parallel_units(wide).model), StationarityGap(with_surrogate_relu(wide))
    set_sharpness(merged.model, 5.0)
    set_sharpness(full.model, 5.0)
    torch.testing.assert_close(merged(x, multipliers), full(x, multipliers))


def test_opposite_units_and_dead_ones():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1e-6, 1e-6]])
    net[2].weight.data = torch.tensor([[1.0, 1.0, 1e-6]])
    assert merge_parallel_units(net).widths == (2,)


def test_units_without_incoming_weights_are_merged_without_a_division_by_zero():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    net[2].weight.data = torch.tensor([[1.0, 2.0, 3.0]])
    merged = merge_parallel_units(net)
    x = torch.randn(5, 2, generator=generator())
    torch.testing.assert_close(merged.model(x), net(x))
    assert all(torch.isfinite(value).all() for value in merged.model.state_dict().values())


def test_a_network_of_zeros_is_refused():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    for value in net.parameters():
        value.data.zero_()
    with pytest.raises(InvalidInputError, match="all zero; pass a trained network"):
        merge_parallel_units(net)
