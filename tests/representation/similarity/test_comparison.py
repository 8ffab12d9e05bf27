import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, layer_outputs, seeded
from assay.nets import mlp, small_conv
from assay.representation.similarity import (
    compare_networks,
    linear_cka,
    linear_regression_r2,
    matching_similarity,
    mean_cca,
    procrustes_similarity,
    pwcca,
    rbf_cka,
    svcca,
)
from assay.representation.similarity.kernels import centred_kernel

DIRECT = {
    "cka": lambda a, b: linear_cka(a, b, unbiased=True),
    "cka_biased": linear_cka,
    "rbf_cka": rbf_cka,
    "cca": mean_cca,
    "svcca": svcca,
    "pwcca": pwcca,
    "procrustes": procrustes_similarity,
    "linear_regression": linear_regression_r2,
    "bipartite": matching_similarity,
    "semi": lambda a, b: matching_similarity(a, b, method="semi"),
}


def networks():
    return [mlp((5, 6, 4, 3), generator=seeded(seed)).double() for seed in (0, 1)]


def samples(n=90):
    return torch.randn(n, 5, generator=seeded(2), dtype=torch.float64)


@pytest.mark.parametrize("method", DIRECT)
def test_each_cell_is_the_similarity_of_two_layers(method):
    a, b = networks()
    x = samples()
    found = compare_networks(a, b, x, ["1", "3"], ["0", "4"], method=method, n_permutations=4)
    first, second = layer_outputs(a, x, ["1", "3"]), layer_outputs(b, x, ["0", "4"])
    for row, own in enumerate(first.values()):
        for column, other in enumerate(second.values()):
            assert float(found.values[row, column]) == pytest.approx(DIRECT[method](own, other))
    assert found.null.shape == (4, 2, 2)
    assert found.n_rows == 90


def test_mini_batches_add_up_hsic():
    a, b = networks()
    x = samples(90)
    found = compare_networks(a, b, x, ["1"], ["3"], batch_size=40, n_permutations=1)
    sums = torch.zeros(3, dtype=torch.float64)
    for part in x.tensor_split(3):
        k, m = (
            centred_kernel(layer_outputs(model, part, [name])[name], unbiased=True)
            for model, name in ((a, "1"), (b, "3"))
        )
        sums += torch.stack([(k * m).sum(), (k * k).sum(), (m * m).sum()]) / (30 * 27)
    assert float(found.values) == pytest.approx(float(sums[0] / (sums[1] * sums[2]).sqrt()))
    assert found.batch_size == 30
    whole = compare_networks(a, b, x, ["1"], ["3"], batch_size=90, n_permutations=1)
    assert abs(float(found.values - whole.values)) < 0.1


def test_a_network_is_like_itself_and_chance_is_not():
    a, _ = networks()
    for method in ("cka", "procrustes"):
        found = compare_networks(a, a, samples(), method=method)
        assert torch.allclose(found.values.diagonal(), torch.ones(5, dtype=torch.float64))
        assert (found.p_values.diagonal() == 1 / 20).all()
        assert (found.null_level.diagonal() < 0.9).all()
    assert "exceed the 95% level of 19 permutations" in str(found)


def test_p_values_of_independent_representations_are_uniform():
    """Of 40 pairs 5% are rejected at 0.05: more than 7 with probability 0.0007."""
    rejected = 0
    for seed in range(40):
        generator = seeded(100 + seed)
        x = torch.randn(20, 10, generator=generator, dtype=torch.float64)
        halves = []
        for columns in (slice(0, 5), slice(5, 10)):
            layer = nn.Linear(10, 5, bias=False).double()
            layer.weight.data.zero_()[:, columns] = torch.randn(5, 5, generator=generator, dtype=torch.float64)
            halves.append(nn.Sequential(layer))
        rejected += int(compare_networks(*halves, x, ["0"], ["0"], generator=generator).p_values <= 0.05)
    assert rejected <= 7


def test_a_subset_is_stated_and_images_are_averaged_over_positions():
    network = small_conv((1, 8, 8), 3, channels=(4, 6), hidden=5, generator=seeded(0)).double()
    x = torch.randn(40, 1, 8, 8, generator=seeded(1), dtype=torch.float64)
    found = compare_networks(
        network, network, x, ["1", "3"], ["1"], method="procrustes", pool="mean", n_rows=32, generator=seeded(3)
    )
    assert found.n_rows == 32
    kept = x[torch.randperm(40, generator=seeded(3))[:32].sort().values]
    outputs = layer_outputs(network, kept, ["1", "3"])
    expected = procrustes_similarity(outputs["3"].mean((2, 3)), outputs["1"].mean((2, 3)))
    assert float(found.values[1, 0]) == pytest.approx(expected)


def test_the_map_is_drawn_with_a_cross_where_chance_explains_it():
    a, b = networks()
    found = compare_networks(a, b, samples(), n_permutations=2)
    axes = found.plot()
    assert axes.images[0].get_array().shape == (5, 5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "2", "3", "4"]
    plt.close(axes.figure)


def test_what_cannot_be_compared_is_refused():
    a, b = networks()
    with pytest.raises(InvalidInputError, match="4 samples"):
        compare_networks(a, b, samples(3))
    with pytest.raises(InvalidInputError, match="no layer"):
        compare_networks(a, b, samples(), layers_a=["9"])
    a[0].weight.data.zero_()
    with pytest.raises(InvalidInputError, match="layer '0'"):
        compare_networks(a, b, samples())
