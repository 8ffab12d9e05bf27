import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, seeded
from assay.landscape.opposing import last_layer_inputs, per_sample_loss_change
from assay.landscape.opposing.clusters import classes_of, embed, main_cluster, main_pair, nearest
from assay.nets import mlp


@pytest.fixture
def states():
    return [mlp((4, 5, 3), generator=seeded(seed)).double() for seed in (0, 1)]


X = torch.randn(9, 4, generator=seeded(2), dtype=torch.float64)
Y = torch.arange(9) % 3


def test_the_change_is_that_of_the_loss_of_each_sample(states):
    before, after = states
    found = per_sample_loss_change(before, after, X, Y, loss=cross_entropy, batch_size=4)
    expected = [cross_entropy(after(X[[i]]), Y[[i]]) - cross_entropy(before(X[[i]]), Y[[i]]) for i in range(9)]
    torch.testing.assert_close(found, torch.stack(expected).detach())


def test_changes_with_class_weights_average_to_the_change_of_the_loss(states):
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.5], dtype=torch.float64))
    found = per_sample_loss_change(*states, X, Y, loss=loss)
    torch.testing.assert_close(found.mean(), (loss(states[1](X), Y) - loss(states[0](X), Y)).detach())


def test_networks_of_other_outputs_are_refused(states):
    with pytest.raises(InvalidInputError, match=r"\(3,\) and \(2,\)"):
        per_sample_loss_change(states[0], mlp((4, 5, 2)).double(), X, Y, loss=cross_entropy)


def test_the_last_layers_inputs_are_the_hidden_units(states):
    model = states[0]
    torch.testing.assert_close(last_layer_inputs(model, X, batch_size=2), model[:-1](X).detach())


def test_a_network_without_a_layer_of_its_own_gives_its_outputs():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.eye(4, dtype=torch.float64)[:2])
            self.child = nn.ReLU()

        def forward(self, x):
            return self.child(x @ self.weight.T)

    torch.testing.assert_close(last_layer_inputs(Plain(), X), X[:, :2].relu())


def test_classes_are_few_values_of_one_number_a_sample():
    assert classes_of(torch.tensor([3, 1, 1, 3])).tolist() == [1, 0, 0, 1]
    assert classes_of(torch.linspace(0, 1, 30)) is None
    assert classes_of(torch.zeros(5, 2)) is None


def test_points_of_two_classes_never_share_a_cluster():
    features, classes = torch.zeros(6, 2), torch.tensor([0, 0, 1, 1, 1, 0])
    points, weight = embed(features, classes), torch.tensor([1.0, 2.0, 1.0, 1.0, 0.5, 4.0])
    assert main_cluster(torch.arange(6), weight, points, 2**0.5).tolist() == [5, 1, 0]


def test_far_features_are_clusters_of_their_own():
    features = torch.tensor([[0.0], [0.1], [9.0], [9.1], [0.2]])
    points = embed(features, None)
    torch.testing.assert_close(points.square().sum(1).mean(), torch.tensor(1.0).double())
    assert main_cluster(torch.arange(5), torch.tensor([1.0, 1, 5, 4, 1]), points, 1.0).tolist() == [2, 3]


def test_a_side_takes_only_what_moves_its_way():
    change = torch.tensor([-1.0, -2.0, -0.5, 0.0])
    rising, falling = main_pair(torch.arange(4), change, torch.zeros(4, 1).double(), 2, 1.0)
    assert rising.tolist() == []
    assert falling.tolist() == [1, 0]


def test_nearest_prefers_the_groups_class():
    points = embed(torch.tensor([[0.0], [0.0], [5.0], [0.1]]), torch.tensor([0, 1, 0, 1]))
    assert nearest(torch.tensor([0]), points, torch.tensor([1, 2, 3])).tolist() == [2]
