import numpy as np
import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, NumericalError, seeded
from assay.nets import mlp, small_conv
from assay.representation.matching import activation_statistics, match_units, unit_rows, unit_statistics


def two_networks():
    return [mlp((5, 7, 3), generator=seeded(seed)).double() for seed in (0, 1)]


def inputs(n=41, generator=2):
    return torch.randn(n, 5, generator=seeded(generator), dtype=torch.float64)


@pytest.mark.parametrize("batch_size", [1, 6, 100])
def test_streamed_correlations_are_those_of_numpy(batch_size):
    a, b = two_networks()
    # A large mean in one unit: sums of squares would lose its digits.
    a[0].bias.data[0] += 1e5
    x = inputs()
    found = unit_statistics(a, b, x, "1", batch_size=batch_size)
    first, second = a[:2](x).detach().numpy(), b[:2](x).detach().numpy()
    expected = np.corrcoef(first, second, rowvar=False)
    live = found.live()
    keep = np.concatenate([live.units_a, 7 + live.units_b])
    joint = torch.cat(
        [torch.cat([live.within_a, live.between], 1), torch.cat([live.between.T, live.within_b], 1)]
    ).numpy()
    assert np.abs(joint - expected[keep][:, keep]).max() < 1e-10
    assert np.allclose(found.mean_a, first.mean(0), rtol=1e-12)
    assert np.allclose(found.std_b, second.std(0), rtol=1e-10)
    assert found.n_rows == 41


def test_a_permuted_copy_is_matched_by_the_permutation():
    network = small_conv((1, 8, 8), 3, channels=(12,), hidden=4, generator=seeded(0)).double()
    copy = small_conv((1, 8, 8), 3, channels=(12,), hidden=4, generator=seeded(0)).double()
    planted = torch.randperm(12, generator=seeded(1))
    copy[0].weight.data, copy[0].bias.data = network[0].weight.data[planted], network[0].bias.data[planted]
    network[0].bias.data[3] = copy[0].bias.data[planted == 3] = -100.0  # a dead unit
    x = torch.randn(20, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    everything = unit_statistics(network, copy, x, "1")
    assert everything.n_dead == (1, 1)
    live = everything.live()
    matching = match_units(live.between)
    assert torch.equal(planted[live.units_b[matching.permutation]], live.units_a)
    assert torch.allclose(matching.scores, torch.ones(11, dtype=torch.float64))
    assert 3 not in live.units_a


def test_shuffled_rows_do_not_correlate_and_leave_the_rest():
    a, b = two_networks()
    x = inputs(4000)
    aligned = unit_statistics(a, b, x, "1", batch_size=4000)
    shuffled = unit_statistics(a, b, x, "1", shuffle=seeded(0), batch_size=4000)
    assert torch.allclose(aligned.within_b, shuffled.within_b)
    # Correlations of independent samples have standard deviation 1 / sqrt(4000) = 0.016; five of them.
    assert shuffled.between.abs().max() < 0.08
    assert aligned.between.abs().max() > 0.5


def test_a_rotation_is_that_of_the_centred_activations():
    generator = seeded(3)
    a, b = (torch.randn(50, n, generator=generator, dtype=torch.float64) @ torch.randn(n, n).double() for n in (3, 4))
    statistics = activation_statistics(a, b)
    rotated = statistics.rotated(seeded(4))
    normal = torch.randn(4, 4, generator=seeded(4), dtype=torch.float64)
    basis, upper = torch.linalg.qr(normal)
    direct = activation_statistics(a, (b - b.mean(0)) @ (basis * upper.diagonal().sign()))
    for name in ("std_b", "within_b", "between"):
        assert torch.allclose(getattr(rotated, name), getattr(direct, name))


def test_units_are_channels_of_convolutions_and_features_of_tokens():
    image = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert torch.equal(unit_rows(image)[1], image[0, :, 0, 1])
    assert unit_rows(torch.zeros(2, 7, 3)).shape == (14, 3)
    assert unit_rows(torch.zeros(2, 7, 3), nn.Conv1d(1, 7, 1)).shape == (6, 7)
    assert unit_rows(torch.zeros(2, 7, 3), unit_axis=1).shape == (6, 7)
    with pytest.raises(InvalidInputError, match="axis behind the first"):
        unit_rows(image, unit_axis=0)


def test_what_cannot_be_compared_is_refused():
    a, b = two_networks()
    with pytest.raises(InvalidInputError, match="no layer"):
        unit_statistics(a, b, inputs(), "7")
    with pytest.raises(InvalidInputError, match="all units"):
        unit_statistics(a, b, inputs(1), "1").live()
    conv = small_conv((1, 8, 8), 3, channels=(4, 4), hidden=4)
    with pytest.raises(InvalidInputError, match="same positions"):
        unit_statistics(conv, conv, torch.rand(3, 1, 8, 8), "1", layer_b="3")
    with pytest.raises(InvalidInputError, match="same rows"):
        activation_statistics(torch.ones(3, 2), torch.ones(4, 2))
    with pytest.raises(InvalidInputError, match="all units"):
        activation_statistics(torch.ones(3, 2), torch.rand(3, 2)).live()
    a[0].weight.data[:] = 1e308
    with pytest.raises((NumericalError, InvalidInputError)):
        unit_statistics(a, b, 1e3 * inputs(), "1")
