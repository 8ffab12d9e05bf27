import math

import pytest
import torch
from sklearn.metrics import mutual_info_score

from assay.core import InvalidInputError, seeded
from assay.representation.matching import percentile_mutual_information


def test_independent_units_have_none():
    generator = seeded(0)
    a, b = (torch.rand(5000, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    found = percentile_mutual_information(a, b).diagonal()  # 40 independent pairs
    assert abs(float(found.mean())) < 3 * float(found.std()) / math.sqrt(40)


def test_a_unit_has_the_entropy_of_its_bins_less_the_bias():
    x = torch.rand(1000, 1, generator=seeded(1), dtype=torch.float64) + 0.1
    for bins in (5, 10):
        expected = math.log(bins) - (bins - 1) ** 2 / 2000
        assert float(percentile_mutual_information(x, x, bins=bins)) == pytest.approx(expected)


def test_it_is_scikit_learns_on_the_bins_with_zeros_apart():
    generator = seeded(2)
    a = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    b = (a.flip(1) + torch.randn(400, 2, generator=generator, dtype=torch.float64)).relu()
    found = percentile_mutual_information(a, b, bins=4)

    def coded(values):
        away = values.abs() >= 1e-6
        edges = torch.quantile(values[away], torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
        return torch.where(away, 1 + torch.bucketize(values.contiguous(), edges), 0)

    for i in range(2):
        for j in range(2):
            first, second = coded(a[:, i]), coded(b[:, j])
            bias = (len(first.unique()) - 1) * (len(second.unique()) - 1) / 800
            expected = mutual_info_score(first.numpy(), second.numpy()) - bias
            assert float(found[i, j]) == pytest.approx(expected, abs=0.02)  # quantiles between two samples differ


def test_dead_units_have_none_and_other_rows_are_refused():
    dead = torch.zeros(50, 1)
    assert float(percentile_mutual_information(dead, torch.rand(50, 1))) == 0
    with pytest.raises(InvalidInputError, match="same rows"):
        percentile_mutual_information(dead, torch.rand(49, 1))
    with pytest.raises(InvalidInputError, match="bins"):
        percentile_mutual_information(dead, dead, bins=0)
