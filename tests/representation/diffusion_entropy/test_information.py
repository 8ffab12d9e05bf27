"""Information by diffusion and by bins, the loss, and traces over layers and checkpoints."""

import math

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, layer_outputs, seeded
from assay.nets import mlp
from assay.representation import (
    DiffusionSpectralEntropyLoss,
    diffusion_spectral_entropy,
    diffusion_spectral_mutual_information,
    entropy_by_layer,
    representation_trajectory,
)
from assay.representation.diffusion_entropy import binned_entropy, binned_mutual_information, cluster_reference


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=seeded(seed), dtype=torch.float64)


def test_information_is_the_mean_of_the_definition():
    x, y, source = draw(40, 3), torch.arange(40) % 3, seeded(1)
    found = diffusion_spectral_mutual_information(x, y, sigma=1.0, n_repeats=3, generator=seeded(1))
    total = 0.0
    for label in range(3):
        own = x[y == label]
        subsets = [x[torch.randperm(40, generator=source)[: len(own)]] for _ in range(3)]
        values = [float(diffusion_spectral_entropy(subset, sigma=1.0)) for subset in subsets]
        total += len(own) / 40 * (sum(values) / 3 - float(diffusion_spectral_entropy(own, sigma=1.0)))
    assert found.value == pytest.approx(total, abs=1e-12)
    assert found.value == pytest.approx(found.entropy - found.conditional)


def test_tight_clusters_tell_their_label_and_a_constant_nothing():
    y = torch.arange(200) % 5
    x = 1e3 * torch.eye(5, dtype=torch.float64)[y]
    found = diffusion_spectral_mutual_information(x, y)
    assert found.conditional == pytest.approx(0, abs=1e-9)
    assert found.value == pytest.approx(math.log2(5), abs=0.15)  # subsets of 40 miss a balanced split
    constant = diffusion_spectral_mutual_information(x, torch.zeros(200, dtype=torch.long))
    assert constant.value == pytest.approx(0, abs=1e-9)


def test_forms_of_a_variable():
    x, y = draw(60, 3), torch.arange(60) % 3
    options = {"sigma": 1.0, "generator": None}
    value = diffusion_spectral_mutual_information(x, y, **options).value
    for form in (y[:, None], nn.functional.one_hot(y).double(), y.double()):
        assert diffusion_spectral_mutual_information(x, form, **options).value == pytest.approx(value, abs=1e-12)
    wide = torch.linspace(0, 1, 60)
    assert diffusion_spectral_mutual_information(x, wide, **options).n_groups == 10
    apart = 100.0 * y[:, None] + x
    clusters = diffusion_spectral_mutual_information(x, apart, n_clusters=3, **options)
    assert clusters.n_groups == 3


def test_clusters_are_the_parts_of_a_graph():
    y = torch.arange(60) % 3
    found = cluster_reference(100.0 * y[:, None] + draw(60, 2), 3)
    assert all(len(found[y == part].unique()) == 1 for part in range(3))
    assert len(found.unique()) == 3
    assert cluster_reference(draw(4, 2), 10).tolist() == [0, 1, 2, 3]


def test_bins():
    x = torch.tensor([[0.0, 5.0], [0.4, 5.0], [0.6, 5.0], [1.0, 5.0]])
    assert binned_entropy(x) == pytest.approx(1)
    assert binned_entropy(x, n_bins=3) == pytest.approx(1.5)
    assert binned_entropy(torch.ones(4, 2)) == 0
    assert binned_entropy(draw(64, 200)) == pytest.approx(6)
    assert binned_mutual_information(draw(64, 200), torch.arange(64) % 2).value == pytest.approx(0)


@pytest.mark.parametrize("t", [1.0, 2.5])
def test_loss_is_the_entropy_with_its_derivative(t):
    x = draw(8, 3).requires_grad_()
    loss = DiffusionSpectralEntropyLoss(1.0, t=t)
    assert loss(x).item() == pytest.approx(float(diffusion_spectral_entropy(x.detach(), sigma=1.0, t=t)), abs=1e-4)
    assert torch.autograd.gradcheck(loss, (x,))


def test_traces_are_the_entropies_of_the_layers():
    model = mlp((4, 6, 3), generator=seeded(2)).double()
    x, y = draw(30, 4), torch.arange(30) % 3
    trace = entropy_by_layer(model, x, y, n_clusters=3, n_repeats=2)
    assert trace.places == ("0", "1", "2")
    outputs = layer_outputs(model, x, ["0", "1", "2"])
    expected = [float(diffusion_spectral_entropy(rows, sigma="median")) for rows in outputs.values()]
    torch.testing.assert_close(trace.entropy, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(trace.median_distance[2], torch.pdist(outputs["2"]).median())
    own = diffusion_spectral_mutual_information(outputs["1"], y, sigma="median", n_repeats=2)
    assert trace.label_information[1] == pytest.approx(own.value, abs=0.5)  # other subsets
    assert len(trace.plot().lines) == 3
    assert "From 0 to 2" in str(trace)


def test_a_trajectory_has_the_representation_of_each_checkpoint():
    model = mlp((4, 6, 3), generator=seeded(2)).double()
    x, y = draw(30, 4), torch.arange(30) % 3
    first = {name: value.clone() for name, value in model.state_dict().items()}
    second = {name: 3 * value for name, value in first.items()}
    options = {"layer": "0", "n_clusters": 3, "n_repeats": 2}
    trace = representation_trajectory(model, x, y, checkpoints={"first": first, "second": second}, **options)
    assert trace.places == ("first", "second")
    assert float(trace.median_distance[1] / trace.median_distance[0]) == pytest.approx(3)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in first.items())
    free = representation_trajectory(model, x, y, checkpoints=[first, second], sigma="median", **options)
    torch.testing.assert_close(free.entropy[0], free.entropy[1])


def test_what_traces_refuse():
    model = mlp((4, 6, 3))
    x, y = draw(30, 4).float(), torch.arange(30) % 3
    with pytest.raises(InvalidInputError, match="no checkpoint"):
        representation_trajectory(model, x, y, layer="0", checkpoints=[])
    with pytest.raises(InvalidInputError, match="does not fit"):
        representation_trajectory(model, x, y, layer="0", checkpoints=[{}])
    with pytest.raises(InvalidInputError, match="'0': most samples coincide"):
        entropy_by_layer(model, torch.ones(30, 4), y)
    embedding = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 3))
    with pytest.raises(InvalidInputError, match="tokens have no distance"):
        entropy_by_layer(embedding, torch.ones(30, 2, dtype=torch.long), y)
