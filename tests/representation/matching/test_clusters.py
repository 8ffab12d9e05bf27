import matplotlib.pyplot as plt
import pytest
import torch

from assay.core import InvalidInputError, seeded
from assay.representation.matching import activation_statistics, cluster_units


def blocks(noise=0.3):
    """Return two networks of nine units in three groups, each with a hidden cause."""
    generator = seeded(0)
    causes = torch.randn(300, 3, generator=generator, dtype=torch.float64)
    order = torch.randperm(9, generator=generator)
    truth = torch.arange(9) % 3
    a = causes[:, truth] + noise * torch.randn(300, 9, generator=generator, dtype=torch.float64)
    b = causes[:, truth[order]] + noise * torch.randn(300, 9, generator=generator, dtype=torch.float64)
    return activation_statistics(a, b), truth, truth[order]


def test_planted_groups_are_found_in_both_networks():
    statistics, truth_a, truth_b = blocks()
    found = cluster_units(statistics, 3)
    names = found.labels_a[:3]
    assert torch.equal(found.labels_a, names[truth_a])
    assert torch.equal(found.labels_b, names[truth_b])
    assert found.n_one_sided == 0
    same = truth_a[:, None] == truth_b
    assert found.inside == pytest.approx(float(statistics.between[same].mean()))
    assert found.outside == pytest.approx(float(statistics.between[~same].mean()))
    # A permuted label hits its own cluster by chance: one in three.
    assert abs(found.permuted - float(statistics.between.mean())) < 0.1


def test_networks_without_common_causes_share_no_cluster():
    generator = seeded(1)
    parts = [
        torch.randn(2000, 1, generator=generator, dtype=torch.float64)
        + 0.1 * torch.randn(2000, 4, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]
    found = cluster_units(activation_statistics(*parts), 2)
    assert found.n_one_sided == 2
    assert found.inside == 0
    assert found.sizes.sort(0).values.tolist() == [[0, 0], [4, 4]]


def test_it_draws_and_refuses():
    statistics, _, _ = blocks()
    axes = cluster_units(statistics, 3).plot()
    assert axes.images[0].get_array().shape == (9, 9)
    plt.close(axes.figure)
    with pytest.raises(InvalidInputError, match="fewer"):
        cluster_units(statistics, 18)
    with pytest.raises(InvalidInputError, match="dead"):
        cluster_units(activation_statistics(torch.ones(5, 2), torch.rand(5, 2)))
