import math

import numpy as np
import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, seeded
from assay.representation import adaptive_information, entropy_adaptive_codes
from assay.representation.information_plane import activation_lower_bound, fixed_codes, fixed_information


def relu_units(n: int = 512, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, generator=seeded(0), dtype=torch.float64).relu()


def test_codes_are_those_of_the_definition() -> None:
    values, n_bins = relu_units(), 30
    levels = np.setdiff1d(np.unique(values.numpy()), [0.0])
    starts = [levels[len(levels) * k // n_bins] for k in range(n_bins)]
    expected = np.digitize(values.numpy(), [0.0, *starts]) - 1
    np.testing.assert_array_equal(entropy_adaptive_codes(values, lower=0.0).numpy(), expected)


def test_codes_do_not_change_under_increasing_maps() -> None:
    values = relu_units()
    codes = entropy_adaptive_codes(values, lower=0.0)
    for mapped, lower in ((1e-3 * values, 0.0), (values.exp(), 1.0), (values**3 - 7, -7.0)):
        assert torch.equal(entropy_adaptive_codes(mapped, lower=lower), codes)


def test_each_bin_holds_as_many_distinct_values() -> None:
    values = torch.randn(3000, 1, generator=seeded(1), dtype=torch.float64)
    codes = entropy_adaptive_codes(values).flatten()
    assert torch.bincount(codes).tolist() == 30 * [100]
    bits = adaptive_information(values, torch.zeros(3000, dtype=torch.long)).input_bits
    assert bits == pytest.approx(math.log2(30))
    # Repeats of a value do not move the edges.
    heavy = torch.cat([values, values[:1].expand(5000, 1)])
    assert torch.equal(entropy_adaptive_codes(heavy)[:3000].flatten(), codes)


def test_few_levels_have_a_bin_each_and_a_constant_layer_has_no_bits() -> None:
    values = torch.tensor([[0.0], [0.5], [2.0], [2.0]])
    assert entropy_adaptive_codes(values, lower=0.0).flatten().tolist() == [0, 1, 2, 2]
    assert adaptive_information(torch.zeros(8, 2), torch.arange(8) % 2, lower=0.0).input_bits == 0
    assert adaptive_information(torch.ones(8, 2), torch.arange(8) % 2).input_bits == 0


def test_fixed_bins_lose_what_leaves_their_range() -> None:
    values, labels = torch.randn(4096, 3, generator=seeded(0), dtype=torch.float64).relu(), torch.zeros(4096).long()
    edges = torch.linspace(-1, 1, 31).tolist()
    scaled = fixed_information(100 * values, labels, edges=edges).input_bits
    assert scaled == pytest.approx(3.09, abs=0.1)
    assert adaptive_information(100 * values, labels, lower=0.0).input_bits > scaled + 5
    expected = np.clip(np.digitize(values.numpy(), edges) - 1, 0, 29)
    np.testing.assert_array_equal(fixed_codes(values, edges).numpy(), expected)


def test_lower_bounds_are_reached() -> None:
    far = torch.full((1,), -100.0, dtype=torch.float64)
    for layer in (nn.ReLU(), nn.ReLU6(), nn.Tanh(), nn.Sigmoid(), nn.ELU(0.5), nn.CELU(2.0), nn.Hardtanh(-3.0)):
        assert layer(far).item() == pytest.approx(activation_lower_bound(layer), abs=1e-9)
    assert activation_lower_bound(nn.Linear(1, 1)) is activation_lower_bound(nn.LeakyReLU()) is None


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="below lower"):
        entropy_adaptive_codes(-torch.ones(2, 2), lower=0.0)
    with pytest.raises(InvalidInputError, match="increasing"):
        fixed_codes(torch.ones(2, 2), (1.0, 0.0))
