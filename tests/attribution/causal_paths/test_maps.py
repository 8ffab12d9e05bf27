import numpy as np
import pytest
import torch
from scipy.signal import convolve2d, correlate2d
from scipy.special import softmax
from torch import nn

from assay.attribution import CausalGraph, causal_saliency
from assay.attribution.causal_paths import graph_stability, local_lipschitz, removal_curve
from assay.core import InvalidInputError, seeded
from assay.studies.attribution.causal_explanation.planted import planted_network


def unit(z):
    return nn.functional.normalize(z, dim=1)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64)


def network():
    first, second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)).double()


def graph_of(layer, causes, effects, units):
    return CausalGraph(
        0, (layer,), (causes,), (effects,), (units,), (1,), "0", {layer: torch.ones(units)}, {layer: "test"}
    )


@pytest.mark.parametrize("flip", [False, True])
def test_a_map_is_that_of_scipys_convolutions(flip):
    model, x = network(), rand(2, 2, 6, 6)
    found = causal_saliency(model, graph_of("2", (0, 3), (1, 2), 4), "2", x, flip=flip, batch_size=1)
    activation = model[:2](x).detach().numpy()
    kernels = model[2].weight.detach().numpy()
    respond = convolve2d if flip else correlate2d
    for image, channels in zip(found, activation, strict=True):
        expected = np.zeros((6, 6))
        for effect in (1, 2):
            parts = [respond(channels[i], kernels[effect, i], mode="same") for i in (0, 3)]
            mean = np.mean([softmax(part) for part in parts], 0)  # over the whole map
            expected += 2 * (mean - mean.min()) / (mean.max() - mean.min()) - 1
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-12)


def test_a_map_needs_a_convolution_of_the_graph():
    model, x = network(), rand(2, 2, 6, 6)
    with pytest.raises(InvalidInputError, match="name a Conv2d"):
        causal_saliency(model, graph_of("5", (0,), (0,), 108), "5", x)
    with pytest.raises(InvalidInputError, match="no layer '0'"):
        causal_saliency(model, graph_of("2", (0,), (0,), 4), "0", x)


def test_the_lipschitz_estimate_of_a_linear_map_is_below_its_norm_and_reached():
    matrix, x = rand(5, 4, seed=1), rand(3, 4)
    found = local_lipschitz(lambda z: z @ matrix.T, x, normalize=False, noise_mean=0.0, n_neighbours=400)
    norm = torch.linalg.matrix_norm(matrix, 2)
    assert bool((found <= norm + 1e-12).all())
    assert bool((found >= 0.9 * norm).all())


def test_the_lipschitz_estimate_is_the_largest_ratio():
    x, source = rand(3, 4), seeded(7)
    steps = [0.1 + 0.1 * torch.randn(3, 4, generator=source, dtype=torch.float64) for _ in range(5)]
    ratios = torch.stack([(unit((x + step) ** 2) - unit(x**2)).norm(dim=1) / step.norm(dim=1) for step in steps])
    found = local_lipschitz(lambda z: z**2, x, n_neighbours=5, generator=seeded(7))
    torch.testing.assert_close(found, ratios.amax(0))
    with pytest.raises(InvalidInputError, match="one map"):
        local_lipschitz(lambda z: z[:1], x)


def test_a_curve_is_that_of_a_loop():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    x, maps = rand(2, 1, 3, 4), rand(2, 3, 4, seed=2)
    found = removal_curve(model, x, 1, maps, n_removals=4)
    for image, scores, curve in zip(x, maps, found.relative, strict=True):
        order = scores.flatten().argsort(descending=True)
        changed = image.flatten().clone()
        whole = model(image[None]).softmax(1)[0, 1]
        for step in range(1, 5):
            changed[order[: 3 * step]] = image.mean()
            share = model(changed.reshape(1, 1, 3, 4)).softmax(1)[0, 1] / whole
            torch.testing.assert_close(curve[step], share.detach())
    torch.testing.assert_close(found.area, (0.25 * (found.relative[:, :-1] + found.relative[:, 1:]) / 2).sum(1))


def test_regions_go_by_their_mean():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    x = rand(1, 1, 2, 2)
    maps = torch.tensor([[[9.0, 0.0], [5.0, 5.0]]], dtype=torch.float64)
    found = removal_curve(model, x, 0, maps, regions=torch.tensor([[[0, 0], [1, 1]]]), n_removals=2)
    changed = x.clone()
    changed[:, :, 1] = x.mean()
    expected = model(changed).softmax(1)[0, 0] / model(x).softmax(1)[0, 0]
    torch.testing.assert_close(found.relative[0, 1], expected.detach())
    with pytest.raises(InvalidInputError, match="regions"):
        removal_curve(model, x, 0, maps, regions=torch.full((1, 2, 2), -1))


def test_soft_interventions_near_zero_find_the_hard_graph():
    model, x, _ = planted_network(3)
    found = graph_stability(model, x, 0, values=(0.0, 9.0), n_repeats=2)
    assert found.jaccard[0].tolist() == [1.0, 1.0]
    assert bool((found.jaccard[1] < 1).all())  # such weights raise the logit
    assert "Graphs of weights" in str(found)
    with pytest.raises(InvalidInputError, match="values"):
        graph_stability(model, x, 0, values=())
